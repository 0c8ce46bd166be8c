//! The examples of heartring: see the files beside this folder.
