//! Hashes of what parts of a plan mean.
//!
//! A reload keeps what has the same name and the same fingerprint, so a fingerprint holds all that
//! the part itself is made of and nothing of what lies upstream but its name. The text's layout, the
//! order of properties and the way a quantity was written are gone before anything is hashed.

use serde::Serialize;
use sha2::{Digest, Sha256};

/// SHA-256 of the canonical JSON form, in hexadecimal.
pub fn of<T: Serialize + ?Sized>(part: &T) -> String {
    let canonical = serde_json::to_vec(part).expect("plans have text keys only and no failing values");
    Sha256::digest(&canonical)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
