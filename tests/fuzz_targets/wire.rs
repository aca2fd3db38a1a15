//! A frame between nodes with any bytes.

use bellwether::cluster::wire::{FRAME_MAX_BYTES, WireError};
use bellwether::node::Word;

/// What is read is written as it was, and read as the same again. What is refused is refused for a
/// reason that only bytes can give.
pub(crate) fn wire_decode(bytes: &[u8]) {
    match Word::read(bytes) {
        Ok(told) => {
            let again = told.word.frame(told.from, told.config).expect("what was read is sent");
            assert_eq!(again, bytes, "{:?}", told.word);
            assert!(Word::read(&again).is_ok_and(|twice| twice == told));
        }
        Err(WireError::TooLong(length)) => assert!(length > FRAME_MAX_BYTES),
        Err(WireError::Unsendable(what)) => panic!("nothing was to be sent, {what}"),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}
