//! Messages, fields and enums, read in place from the table that `build.rs` writes.
//!
//! A descriptor pool for the same files takes 17 MiB of heap and 20 ms; this takes a few pages of the executable, and
//! only while they are in use. The layout stands in `config/build/table.rs`.

static TABLE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/schema.bin"));

const MAGIC: &[u8] = b"ZPS1";
const HEADER: usize = 32;
const RECORD: usize = 16;

/// Every type that Envoy's API knows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Schema {
    messages: usize,
    fields: usize,
    enums: usize,
    values: usize,
    strings: usize,
    counts: (usize, usize),
}

/// A message type.
#[derive(Clone, Copy, Debug)]
pub(super) struct Message {
    schema: Schema,
    /// Full name.
    pub(super) name: &'static str,
    /// A map's synthetic entry: fields 1 (key) and 2 (value).
    pub(super) map_entry: bool,
    first: usize,
    count: usize,
}

/// A field of a message.
#[derive(Clone, Copy, Debug)]
pub(super) struct Field {
    schema: Schema,
    /// Proto name.
    pub(super) name: &'static str,
    /// Number on the wire.
    pub(super) number: u32,
    /// A list or a map.
    pub(super) repeated: bool,
    /// Holds a secret (`udpa.annotations.sensitive`).
    pub(super) sensitive: bool,
    /// Its default value on the wire says more than its absence.
    pub(super) presence: bool,
    /// Which oneof it belongs to, 0 for none.
    pub(super) oneof: u8,
    kind: u8,
    target: usize,
}

/// An enum type.
#[derive(Clone, Copy, Debug)]
pub(super) struct Enum {
    schema: Schema,
    /// Full name.
    pub(super) name: &'static str,
    first: usize,
    count: usize,
}

/// `FieldDescriptorProto.Type`.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    /// double
    Double,
    /// float
    Float,
    /// int64
    Int64,
    /// uint64
    Uint64,
    /// int32
    Int32,
    /// fixed64
    Fixed64,
    /// fixed32
    Fixed32,
    /// bool
    Bool,
    /// string
    String,
    /// bytes
    Bytes,
    /// uint32
    Uint32,
    /// sfixed32
    Sfixed32,
    /// sfixed64
    Sfixed64,
    /// sint32
    Sint32,
    /// sint64
    Sint64,
    /// A message.
    Message(Message),
    /// An enum.
    Enum(Enum),
}

impl Schema {
    /// Finds the parts of the table; `None` if it is not one.
    pub(super) fn load() -> Option<Self> {
        let counts: [usize; 4] = [word(4), word(8), word(12), word(16)];
        let messages = HEADER;
        let fields = messages + counts[0] * RECORD;
        let enums = fields + counts[1] * RECORD;
        let values = enums + counts[2] * RECORD;
        let strings = values + counts[3] * RECORD;
        let whole = TABLE.starts_with(MAGIC) && strings <= TABLE.len();
        whole.then_some(Self { messages, fields, enums, values, strings, counts: (counts[0], counts[2]) })
    }

    /// The message of this full name.
    pub(super) fn message(self, name: &str) -> Option<Message> {
        let (mut low, mut high) = (0, self.counts.0);
        while low < high {
            let middle = low + (high - low) / 2;
            let message = self.nth_message(middle);
            match message.name.cmp(name) {
                std::cmp::Ordering::Equal => return Some(message),
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
            }
        }
        None
    }

    /// The message a type URL names: what stands after its last slash.
    pub(super) fn message_of_url(self, url: &str) -> Option<Message> {
        self.message(url.rsplit_once('/').map_or(url, |(_, name)| name))
    }

    /// Whether a field of this name (either spelling) holds a secret in any message.
    pub(super) fn any_sensitive(self, name: &str) -> bool {
        (0..(self.enums - self.fields) / RECORD)
            .map(|i| self.nth_field(i))
            .any(|f| f.sensitive && (f.name == name || f.json_name() == name))
    }

    fn nth_message(self, index: usize) -> Message {
        let at = self.messages + index * RECORD;
        let length = word(at + 4);
        Message {
            schema: self,
            name: self.text(word(at), length & 0xffff),
            map_entry: length >> 16 != 0,
            first: word(at + 8),
            count: word(at + 12),
        }
    }

    fn nth_field(self, index: usize) -> Field {
        let at = self.fields + index * RECORD;
        let [length, kind, flags, oneof] = quad(at + 12);
        Field {
            schema: self,
            name: self.text(word(at), usize::from(length)),
            number: u32::from_le_bytes(quad(at + 4)),
            repeated: flags & 1 != 0,
            sensitive: flags & 2 != 0,
            presence: flags & 4 != 0,
            oneof,
            kind,
            target: word(at + 8),
        }
    }

    fn nth_enum(self, index: usize) -> Enum {
        let at = self.enums + index * RECORD;
        Enum { schema: self, name: self.text(word(at), word(at + 4)), first: word(at + 8), count: word(at + 12) }
    }

    fn text(self, at: usize, length: usize) -> &'static str {
        let start = self.strings + at;
        TABLE.get(start..start + length).and_then(|b| std::str::from_utf8(b).ok()).unwrap_or("")
    }
}

impl Message {
    /// All fields, by number.
    pub(super) fn fields(self) -> impl Iterator<Item = Field> {
        (self.first..self.first + self.count).map(move |i| self.schema.nth_field(i))
    }

    /// The field with this number.
    pub(super) fn field(self, number: u32) -> Option<Field> {
        self.fields().find(|f| f.number == number)
    }

    /// The field with this name, in either spelling.
    pub(super) fn field_named(self, name: &str) -> Option<Field> {
        self.fields().find(|f| f.name == name || (f.name.contains('_') && f.json_name() == name))
    }
}

impl Field {
    /// Its type.
    pub(super) fn kind(self) -> Option<Kind> {
        Some(match self.kind {
            1 => Kind::Double,
            2 => Kind::Float,
            3 => Kind::Int64,
            4 => Kind::Uint64,
            5 => Kind::Int32,
            6 => Kind::Fixed64,
            7 => Kind::Fixed32,
            8 => Kind::Bool,
            9 => Kind::String,
            11 => Kind::Message(self.schema.nth_message(self.target)),
            12 => Kind::Bytes,
            13 => Kind::Uint32,
            14 => Kind::Enum(self.schema.nth_enum(self.target)),
            15 => Kind::Sfixed32,
            16 => Kind::Sfixed64,
            17 => Kind::Sint32,
            18 => Kind::Sint64,
            _ => return None,
        })
    }

    /// Its message type's entry, if it is a map.
    pub(super) fn map_entry(self) -> Option<Message> {
        match self.kind()? {
            Kind::Message(m) if self.repeated && m.map_entry => Some(m),
            _ => None,
        }
    }

    /// Its name in camelCase.
    pub(super) fn json_name(self) -> String {
        camel(self.name)
    }
}

/// protobuf's rule for JSON names: underscores go, the letter after one is upper case.
pub(super) fn camel(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    let mut parts = name.split('_');
    out.extend(parts.next());
    for part in parts {
        let mut chars = part.chars();
        out.extend(chars.next().map(|c| c.to_ascii_uppercase()));
        out.push_str(chars.as_str());
    }
    out
}

impl Enum {
    /// The name of a number.
    pub(super) fn name_of(self, number: i32) -> Option<&'static str> {
        self.values().find(|(n, _)| *n == number).map(|(_, name)| name)
    }

    /// The number of a name.
    pub(super) fn number_of(self, name: &str) -> Option<i32> {
        self.values().find(|(_, n)| *n == name).map(|(number, _)| number)
    }

    /// All names, as declared.
    pub(super) fn values(self) -> impl Iterator<Item = (i32, &'static str)> {
        (self.first..self.first + self.count).map(move |i| {
            let at = self.schema.values + i * RECORD;
            (i32::from_le_bytes(quad(at + 8)), self.schema.text(word(at), word(at + 4)))
        })
    }
}

fn quad(at: usize) -> [u8; 4] {
    TABLE.get(at..at + 4).and_then(|b| b.try_into().ok()).unwrap_or_default()
}

fn word(at: usize) -> usize {
    u32::from_le_bytes(quad(at)) as usize
}

/// The other way: an underscore before each capital.
pub(super) fn snake(name: &str) -> String {
    let mut out = String::with_capacity(name.len() + 4);
    for c in name.chars() {
        if c.is_ascii_uppercase() {
            out.push('_');
        }
        out.push(c.to_ascii_lowercase());
    }
    out
}
