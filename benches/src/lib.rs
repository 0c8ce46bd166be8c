//! Micro-benchmarks of heartring: see `benches/`. `cargo bench -p heartring-benches` runs them.
//!
//! They answer one question, whether core costs less than 100 ns per message in all, and say where that goes. What a
//! gateway costs with its kernel is the business of `heartring bench`.
