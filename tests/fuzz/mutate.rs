//! Damage, the same for the same round.

/// A number that looks random (splitmix64).
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

/// Bits of text that grammars care about.
const PIECES: [&str; 24] = [
    "{",
    "}",
    "\"",
    "'",
    "(",
    ")",
    ",",
    "=",
    "/-",
    "/*",
    "*/",
    "#true",
    "-1",
    "1e308",
    "9223372036854775808",
    "null",
    "\\u{0}",
    "env.X",
    "é",
    "\u{feff}",
    ";",
    "\n",
    "and",
    "0",
];

/// A seed, damaged in up to eight places; now and then pure noise.
pub fn mutated(seeds: &[Vec<u8>], round: u64) -> Vec<u8> {
    let mut state = round;
    let mut pick = |below: usize| (next(&mut state) % below.max(1) as u64) as usize;
    if pick(20) == 0 {
        return (0..pick(300)).map(|_| pick(256) as u8).collect();
    }
    let mut bytes = seeds[pick(seeds.len())].clone();
    for _ in 0..=pick(8) {
        let (at, length) = (pick(bytes.len() + 1), pick(12));
        let end = (at + length).min(bytes.len());
        match pick(6) {
            0 => drop(bytes.drain(at..end)),
            1 => drop(bytes.splice(at..at, PIECES[pick(PIECES.len())].bytes())),
            2 if at < bytes.len() => bytes[at] = pick(256) as u8,
            3 => {
                let copy = bytes[at..end].to_vec();
                let times = 1 + pick(40);
                drop(bytes.splice(at..at, copy.repeat(times)));
            }
            4 => {
                let other = &seeds[pick(seeds.len())];
                let from = pick(other.len());
                let piece = other[from..(from + pick(60)).min(other.len())].to_vec();
                drop(bytes.splice(at..end, piece));
            }
            _ => bytes.truncate(at),
        }
    }
    bytes
}
