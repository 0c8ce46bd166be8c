//! A fuzzer's input, read as numbers.

/// Bytes from which choices are drawn. After its end an input goes on with zeros, so that each prefix of an input is one, too;
/// zero should therefore be the quietest choice.
pub(crate) struct Input {
    bytes: Vec<u8>,
    at: usize,
}

impl Input {
    pub(crate) fn new(bytes: &[u8]) -> Self {
        Self { bytes: bytes.to_vec(), at: 0 }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.at >= self.bytes.len()
    }

    pub(crate) fn byte(&mut self) -> u8 {
        let byte = self.bytes.get(self.at).copied().unwrap_or(0);
        self.at += 1;
        byte
    }

    /// A number below `bound`, which is at most 256.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        assert!((1..=256).contains(&bound), "one byte chooses");
        usize::from(self.byte()) % bound
    }

    pub(crate) fn flag(&mut self) -> bool {
        self.byte() & 1 == 1
    }

    /// One of these.
    pub(crate) fn choose<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    /// The next `count` bytes.
    pub(crate) fn take(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.byte()).collect()
    }

    /// Everything that is left.
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        let from = std::mem::replace(&mut self.at, self.bytes.len()).min(self.bytes.len());
        self.bytes[from..].to_vec()
    }
}
