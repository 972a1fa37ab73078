//! Pointers to values. A host may hand over memory that is not aligned, so
//! everything is read and written byte-wise.

use cryptoki_sys::*;

use crate::error::{Error, Result};

/// The bytes at `pointer`.
///
/// # Errors
/// CKR_ARGUMENTS_BAD for null with a length, or a length that no memory has.
///
/// # Safety
/// `pointer` is null or valid for reads of `length` bytes while the result is
/// in use.
pub(super) unsafe fn bytes<'a>(pointer: *const CK_BYTE, length: CK_ULONG) -> Result<&'a [u8]> {
    let length = usize::try_from(length).map_err(|_| bad("a length"))?;
    if length == 0 {
        return Ok(&[]);
    }
    if pointer.is_null() || isize::try_from(length).is_err() {
        return Err(bad("a pointer or a length"));
    }
    // SAFETY: not null, and valid by the caller's promise.
    Ok(unsafe { std::slice::from_raw_parts(pointer, length) })
}

/// Writes `value` to where the host wants it.
///
/// # Errors
/// CKR_ARGUMENTS_BAD for null.
///
/// # Safety
/// `pointer` is null or valid for the write of a `T`.
pub(super) unsafe fn put<T>(pointer: *mut T, value: T) -> Result<()> {
    if pointer.is_null() {
        return Err(bad("a pointer for the result"));
    }
    // SAFETY: not null, and valid by the caller's promise.
    unsafe { pointer.write_unaligned(value) };
    Ok(())
}

/// What became of a result that goes into a buffer of the host (section 5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Room {
    /// The host asked for the length, or gave too little: nothing is done yet.
    Asked,
    /// There is room.
    Enough,
}

/// Tells the host how long a result is, and whether its buffer is enough.
///
/// # Errors
/// CKR_ARGUMENTS_BAD without a place for the length, CKR_BUFFER_TOO_SMALL.
///
/// # Safety
/// `length` is null or valid for reads and writes.
pub(super) unsafe fn room<T>(buffer: *mut T, length: CK_ULONG_PTR, needed: usize) -> Result<Room> {
    if length.is_null() {
        return Err(bad("a pointer for the length"));
    }
    // SAFETY: not null, and valid by the caller's promise.
    let given = unsafe { length.read_unaligned() };
    if !buffer.is_null() && given >= needed as CK_ULONG {
        return Ok(Room::Enough);
    }
    // SAFETY: as above.
    unsafe { length.write_unaligned(needed as CK_ULONG) };
    if buffer.is_null() { Ok(Room::Asked) } else { Err(CKR_BUFFER_TOO_SMALL.into()) }
}

/// Whether an operation goes on although its function was called: the host asked
/// for the length, or its buffer was too short.
pub(super) fn goes_on(room: &Result<Room>) -> bool {
    match room {
        Ok(room) => *room == Room::Asked,
        Err(error) => error.rv == CKR_BUFFER_TOO_SMALL,
    }
}

/// Gives a result to the host, in the manner of section 5.2.
///
/// # Errors
/// As [`room`].
///
/// # Safety
/// `length` is null or valid for reads and writes; `buffer` is null or valid
/// for writes of as many elements as `length` says.
pub(super) unsafe fn give<T: Copy>(
    result: &[T],
    buffer: *mut T,
    length: CK_ULONG_PTR,
) -> Result<Room> {
    // SAFETY: the caller's promise.
    let room = unsafe { room(buffer, length, result.len()) }?;
    if room == Room::Enough {
        // SAFETY: the buffer has room for the result; the host's memory and
        // ours do not overlap. Byte-wise, since the host's may be unaligned.
        unsafe {
            std::ptr::copy_nonoverlapping(
                result.as_ptr().cast::<u8>(),
                buffer.cast::<u8>(),
                size_of_val(result),
            );
            length.write_unaligned(result.len() as CK_ULONG);
        }
    }
    Ok(room)
}

/// CKR_ARGUMENTS_BAD, and which argument.
pub(super) fn bad(what: &str) -> Error {
    Error::new(CKR_ARGUMENTS_BAD, format!("{what} is not valid"))
}

/// Text in a fixed field, padded with blanks and not terminated.
pub(super) fn padded<const N: usize>(text: &str) -> [CK_UTF8CHAR; N] {
    let mut field = [b' '; N];
    let mut end = text.len().min(N);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    field[..end].copy_from_slice(&text.as_bytes()[..end]);
    field
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_cut_between_characters_and_padded() {
        assert_eq!(&padded::<6>("ab"), b"ab    ");
        assert_eq!(&padded::<4>("abc\u{e9}"), b"abc ");
    }

    #[test]
    fn a_buffer_that_is_too_small_is_left_alone_and_told_the_length() {
        let mut buffer = [0xaa_u8; 4];
        let mut length: CK_ULONG = 2;
        // SAFETY: both point to locals of that size.
        let result = unsafe { give(&[1_u8, 2, 3], buffer.as_mut_ptr(), &raw mut length) };
        assert_eq!(result.unwrap_err().rv, CKR_BUFFER_TOO_SMALL);
        assert_eq!((buffer, length), ([0xaa; 4], 3));
        // SAFETY: as above.
        let result = unsafe { give(&[1_u8, 2, 3], buffer.as_mut_ptr(), &raw mut length) };
        assert_eq!(result.unwrap(), Room::Enough);
        assert_eq!(buffer, [1, 2, 3, 0xaa]);
    }
}
