//! The path between a peer and us, which can be cut and mended.
//!
//! While it is cut, TCP on both sides keeps what it has and sends it again: nothing is lost but what TCP never repeats, an
//! RST.

/// The path from a peer to us.
#[derive(Default)]
pub(crate) struct Wire {
    cut: bool,
    held: Held,
}

/// What the peer has sent since the path was cut.
#[derive(Default)]
pub(crate) struct Held {
    pub(crate) bytes: Vec<u8>,
    pub(crate) end: Option<HeldEnd>,
}

/// How the peer has ended its stream meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HeldEnd {
    Fin,
    Reset,
}

impl Wire {
    pub(crate) fn is_cut(&self) -> bool {
        self.cut
    }

    pub(crate) fn cut(&mut self) {
        self.cut = true;
    }

    /// Gives what is to arrive now.
    pub(crate) fn mend(&mut self) -> Held {
        self.cut = false;
        std::mem::take(&mut self.held)
    }

    pub(crate) fn hold(&mut self, bytes: &[u8]) {
        match self.held.end {
            None => self.held.bytes.extend_from_slice(bytes),
            Some(HeldEnd::Fin) => panic!("the peer sends after its FIN"),
            Some(HeldEnd::Reset) => {}
        }
    }

    pub(crate) fn hold_end(&mut self, end: HeldEnd) {
        if self.held.end != Some(HeldEnd::Reset) {
            self.held.end = Some(end);
        }
    }

    /// The peer is gone, with everything that it would have sent again.
    pub(crate) fn lose(&mut self) {
        self.held = Held::default();
    }
}
