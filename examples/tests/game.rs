//! The game, played by the `websockets` package of Python and by two real browsers, on both backends.

mod common;

#[path = "game/browsers.rs"]
mod browsers;
#[path = "game/scenes.rs"]
mod scenes;
