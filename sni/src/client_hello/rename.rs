use super::hello::{ClientHello, MESSAGE_HEADER, Origin};
use super::refusal::{Malformed, Refusal};

const CLIENT_HELLO: u8 = 1;

impl<'a> ClientHello<'a> {
    /// Parses a whole handshake message, header included, that is out of its records already.
    /// [`ClientHello::stream_len`] is then the message's.
    pub fn from_message(message: &'a [u8]) -> Result<Self, Refusal> {
        let (header, body) = message.split_at_checked(MESSAGE_HEADER).ok_or(Malformed::Truncated)?;
        match *header {
            [CLIENT_HELLO, a, b, c] if be24([a, b, c]) > body.len() => Err(Malformed::Truncated.into()),
            [CLIENT_HELLO, a, b, c] if be24([a, b, c]) < body.len() => Err(Malformed::ExcessData.into()),
            [CLIENT_HELLO, ..] => Self::parse(message, Origin { stream_len: message.len(), in_place: true }),
            _ => Err(Refusal::NotClientHello { handshake_type: message[0] }),
        }
    }

    /// The message with another server name in the place of its own; `None` if it has none
    /// ([`ServerName::as_bytes`](super::ServerName::as_bytes)), or if a length would not fit its
    /// field.
    ///
    /// The five lengths around the name follow; nothing else changes, so that going back to the
    /// old name gives the old message.
    pub fn with_server_name(&self, name: &[u8]) -> Option<Vec<u8>> {
        let message = self.message();
        let old = self.server_name().as_bytes()?;
        let at = self.server_name_offset()?;
        // extension_type, extension_data's length, list's length, name_type, name's length.
        let extension = at.checked_sub(9)?;
        let lengths = [(self.extensions_offset().checked_sub(2)?, 2), (extension + 2, 2), (extension + 4, 2)];
        let mut renamed = Vec::with_capacity(message.len() + name.len());
        renamed.extend_from_slice(message.get(..at)?);
        renamed.extend_from_slice(name);
        renamed.extend_from_slice(message.get(at + old.len()..)?);
        for (field, width) in [(1, 3)].into_iter().chain(lengths).chain([(at - 2, 2)]) {
            adjust(renamed.get_mut(field..field + width)?, old.len(), name.len())?;
        }
        Some(renamed)
    }
}

/// Replaces `old` by `new` in what a big-endian length counts.
fn adjust(field: &mut [u8], old: usize, new: usize) -> Option<()> {
    let length = field.iter().fold(0, |length, &byte| length << 8 | usize::from(byte));
    let length = length.checked_sub(old)? + new;
    let bytes = length.to_be_bytes();
    let (high, low) = bytes.split_at(bytes.len() - field.len());
    field.copy_from_slice(low);
    high.iter().all(|&byte| byte == 0).then_some(())
}

fn be24([a, b, c]: [u8; 3]) -> usize {
    usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c)
}
