//! Records one after another: each is a length in bytes (32 bits, little endian), then a kind and its fields.

use serde::Serialize;

/// Bytes of the length.
const LENGTH_BYTES: usize = 4;

/// Adds a record to `out`.
///
/// # Errors
/// It cannot be encoded, or takes 4 GiB or more.
pub fn push<T: Serialize + ?Sized>(mut out: Vec<u8>, value: &T) -> postcard::Result<Vec<u8>> {
    let start = out.len();
    out.extend_from_slice(&[0; LENGTH_BYTES]);
    let mut out = postcard::to_extend(value, out)?;
    let length = u32::try_from(out.len() - start - LENGTH_BYTES);
    let length = length.map_err(|_| postcard::Error::SerializeBufferFull)?;
    out[start..start + LENGTH_BYTES].copy_from_slice(&length.to_le_bytes());
    Ok(out)
}

/// Splits off the first record, without its length; `None` when it is not there as a whole.
pub fn split(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<LENGTH_BYTES>()?;
    rest.split_at_checked(u32::from_le_bytes(*length) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_come_back_in_order_and_a_cut_one_is_none() {
        let bytes = push(push(Vec::new(), "one").unwrap(), "").unwrap();
        let (one, rest) = split(&bytes).unwrap();
        assert_eq!(postcard::from_bytes::<&str>(one), Ok("one"));
        let (none, rest) = split(rest).unwrap();
        assert_eq!((postcard::from_bytes::<&str>(none), rest), (Ok(""), &b""[..]));
        for length in 0..8 {
            assert_eq!(split(&bytes[..length]), None, "{length} bytes");
        }
    }
}
