//! Random bytes from AWS-LC's generator, which is seeded by the operating system and survives a
//! fork.

/// Fills `buffer` with random bytes.
///
/// # Panics
///
/// Never in practice: AWS-LC ends the process rather than return without entropy.
pub fn fill(buffer: &mut [u8]) {
    // RAND_bytes has no failure to report (see above), and to go on with a predictable buffer would
    // be worse than to stop.
    #[expect(clippy::expect_used)]
    aws_lc_rs::rand::fill(buffer).expect("AWS-LC's RAND_bytes never fails");
}

/// `N` random bytes.
#[must_use]
pub fn bytes<const N: usize>() -> [u8; N] {
    let mut buffer = [0; N];
    fill(&mut buffer);
    buffer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_bytes_differ_from_call_to_call() {
        assert_ne!(bytes::<32>(), bytes::<32>());
        assert_ne!(bytes::<32>(), [0; 32]);
        fill(&mut []);
    }
}
