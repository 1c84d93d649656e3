//! Messages of nftables: one header, attributes in attributes. Integers are big-endian, except those that a rule compares.

/// `NFNL_SUBSYS_NFTABLES` of linux/netfilter/nfnetlink.h.
const NFTABLES: u16 = 10;
const NFNL_MSG_BATCH_BEGIN: u16 = 16;
const NFNL_MSG_BATCH_END: u16 = 17;

/// `NLA_F_NESTED`: the attribute contains attributes.
const NESTED: u16 = 1 << 15;

const NFPROTO_INET: u8 = 1;

const NLM_F_REQUEST: u16 = 1;
const NLM_F_ACK: u16 = 4;
const NLM_F_EXCL: u16 = 0x200;
const NLM_F_CREATE: u16 = 0x400;
const NLM_F_APPEND: u16 = 0x800;

/// Commands of linux/netfilter/nf_tables.h.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
pub(super) enum Command {
    NewTable = 0,
    DeleteTable = 2,
    NewChain = 3,
    NewRule = 6,
    NewSet = 9,
    NewElements = 12,
}

/// Attributes under construction.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Attributes(Vec<u8>);

impl Attributes {
    pub(super) fn bytes(mut self, kind: u16, value: &[u8]) -> Self {
        let length = u16::try_from(4 + value.len()).expect("a list longer than 64 KiB is split by the caller");
        self.0.extend(length.to_ne_bytes());
        self.0.extend(kind.to_ne_bytes());
        self.0.extend(value);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
        self
    }

    pub(super) fn text(self, kind: u16, value: &str) -> Self {
        let bytes: Vec<u8> = value.bytes().chain([0]).collect();
        self.bytes(kind, &bytes)
    }

    pub(super) fn number(self, kind: u16, value: u32) -> Self {
        self.bytes(kind, &value.to_be_bytes())
    }

    pub(super) fn nested(self, kind: u16, value: Attributes) -> Self {
        self.bytes(kind | NESTED, &value.0)
    }
}

/// A transaction: all of its commands are carried out, or none.
#[derive(Debug)]
pub(super) struct Batch {
    bytes: Vec<u8>,
    sequence: u32,
}

impl Batch {
    /// Begins a transaction whose messages are numbered from `sequence` on.
    pub(super) fn new(sequence: u32) -> Self {
        let mut batch = Batch { bytes: Vec::new(), sequence };
        batch.frame(NFNL_MSG_BATCH_BEGIN, NLM_F_REQUEST, 0, NFTABLES, &Attributes::default());
        batch
    }

    pub(super) fn push(&mut self, command: Command, attributes: Attributes) {
        let kind = NFTABLES << 8 | command as u16;
        let flags = match command {
            Command::DeleteTable => 0,
            Command::NewTable | Command::NewChain | Command::NewSet => NLM_F_CREATE | NLM_F_EXCL,
            Command::NewRule | Command::NewElements => NLM_F_CREATE | NLM_F_APPEND,
        };
        self.frame(kind, NLM_F_REQUEST | NLM_F_ACK | flags, NFPROTO_INET, 0, &attributes);
    }

    /// Ends the transaction. Returns its bytes and the number of its last command, whose acknowledgement ends the answer.
    pub(super) fn finish(mut self) -> (Vec<u8>, u32) {
        let last = self.sequence - 1;
        self.frame(NFNL_MSG_BATCH_END, NLM_F_REQUEST, 0, NFTABLES, &Attributes::default());
        (self.bytes, last)
    }

    fn frame(&mut self, kind: u16, flags: u16, family: u8, resource: u16, attributes: &Attributes) {
        const HEADERS: usize = 16 + 4;
        let length = u32::try_from(HEADERS + attributes.0.len()).expect("a message is shorter than 4 GiB");
        self.bytes.extend(length.to_ne_bytes());
        self.bytes.extend(kind.to_ne_bytes());
        self.bytes.extend(flags.to_ne_bytes());
        self.bytes.extend(self.sequence.to_ne_bytes());
        self.bytes.extend([0; 4]);
        self.bytes.extend([family, 0]);
        self.bytes.extend(resource.to_be_bytes());
        self.bytes.extend(&attributes.0);
        self.sequence += 1;
    }
}

/// The error codes in an answer, with the numbers of the messages that they are about; 0 is an acknowledgement.
pub(super) fn answers(datagram: &[u8]) -> Vec<(u32, i32)> {
    const NLMSG_ERROR: u16 = 2;
    let mut found = Vec::new();
    let mut rest = datagram;
    let number = |bytes: &[u8], at: usize| Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
    while let (Some(length), Some(sequence)) = (number(rest, 0), number(rest, 8)) {
        let length = length as usize;
        if length < 16 || length > rest.len() {
            break;
        }
        let kind = u16::from_ne_bytes([rest[4], rest[5]]);
        if let (NLMSG_ERROR, Some(code)) = (kind, number(&rest[..length], 16)) {
            found.push((sequence, code as i32));
        }
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attribute_is_padded_and_its_length_is_not() {
        let attributes = Attributes::default().text(1, "ab").number(2, 7);
        assert_eq!(attributes.0[..2], 7u16.to_ne_bytes());
        assert_eq!(attributes.0[4..8], *b"ab\0\0");
        assert_eq!(attributes.0[12..], [0, 0, 0, 7]);
    }

    #[test]
    fn batch_has_a_begin_and_an_end_around_its_commands() {
        let mut batch = Batch::new(1);
        batch.push(Command::NewTable, Attributes::default());
        let (bytes, last) = batch.finish();
        assert_eq!(bytes.len(), 60);
        assert_eq!(last, 2);
        assert_eq!(bytes[4..6], NFNL_MSG_BATCH_BEGIN.to_ne_bytes());
        assert_eq!(bytes[18..20], [0, 10], "the subsystem, big-endian");
        assert_eq!(bytes[24..26], 0x0a00u16.to_ne_bytes());
        assert_eq!(bytes[36], NFPROTO_INET);
        assert_eq!(bytes[44..46], NFNL_MSG_BATCH_END.to_ne_bytes());
    }

    #[test]
    fn answers_that_are_cut_off_are_ignored() {
        let mut datagram = Vec::new();
        datagram.extend(36u32.to_ne_bytes());
        datagram.extend(2u16.to_ne_bytes());
        datagram.extend([0; 2]);
        datagram.extend(5u32.to_ne_bytes());
        datagram.extend([0; 4]);
        datagram.extend((-1i32).to_ne_bytes());
        datagram.extend([0; 16]);
        assert_eq!(answers(&datagram), [(5, -1)]);
        for length in 0..datagram.len() {
            assert_eq!(answers(&datagram[..length]), []);
        }
    }
}
