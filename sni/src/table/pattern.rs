use std::borrow::Cow;
use std::cmp::Ordering;
use std::error::Error;
use std::fmt;

/// A server name as Envoy's `FilterChainMatch.server_names` has it, in ASCII lower case.
///
/// Ordered by specificity: of the patterns that match one name the greatest wins.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Pattern<'a> {
    /// The empty string: any name, and none.
    Any,
    /// `*.example.com`, kept with its dot and without the star. Envoy keeps `.example.com` the same
    /// way, so that matches subdomains too, and the wildcard matches `.example.com` itself.
    Suffix(Cow<'a, str>),
    /// One name.
    Exact(Cow<'a, str>),
}

impl<'a> Pattern<'a> {
    /// Reads the configuration's syntax. As in Envoy a star behind the leading `*.` stands for
    /// itself, and bytes are not checked: Kuma's names hold braces.
    ///
    /// # Errors
    /// [`PatternError::BareWildcard`] and [`PatternError::PartialWildcard`]; Envoy refuses the
    /// listener over both.
    pub fn parse(pattern: &'a str) -> Result<Self, PatternError> {
        let key = match pattern.strip_prefix('*') {
            Some("") => return Err(PatternError::BareWildcard),
            Some(suffix) if suffix.starts_with('.') => suffix,
            _ if pattern.contains('*') => return Err(PatternError::PartialWildcard),
            _ => pattern,
        };
        let lower = match key.bytes().any(|byte| byte.is_ascii_uppercase()) {
            true => Cow::Owned(key.to_ascii_lowercase()),
            false => Cow::Borrowed(key),
        };
        Ok(Self::classify(lower))
    }

    /// Whether a received name, in any case, matches.
    pub fn matches(&self, name: &[u8]) -> bool {
        let key = self.key().as_bytes();
        match self {
            Self::Any => true,
            Self::Exact(_) => name.eq_ignore_ascii_case(key),
            Self::Suffix(_) => {
                let ends_so = name.len().checked_sub(key.len()).and_then(|at| name.get(at..));
                let ends_so = ends_so.is_some_and(|end| end.eq_ignore_ascii_case(key));
                // The lone dot, from `*.`, ends every name with a trailing dot; Envoy skips it.
                ends_so && (key.len() > 1 || name.len() == key.len())
            }
        }
    }

    /// What two equal patterns have in common: the name, or the suffix from its dot on, or nothing.
    pub fn key(&self) -> &str {
        match self {
            Self::Any => "",
            Self::Suffix(key) | Self::Exact(key) => key,
        }
    }

    /// The pattern with a text of its own.
    pub fn into_owned(self) -> Pattern<'static> {
        match self {
            Self::Any => Pattern::Any,
            Self::Suffix(key) => Pattern::Suffix(Cow::Owned(key.into_owned())),
            Self::Exact(key) => Pattern::Exact(Cow::Owned(key.into_owned())),
        }
    }

    pub(super) fn from_key(key: &'a str) -> Self {
        Self::classify(Cow::Borrowed(key))
    }

    fn classify(key: Cow<'a, str>) -> Self {
        match key.as_bytes().first() {
            None => Self::Any,
            Some(b'.') => Self::Suffix(key),
            Some(_) => Self::Exact(key),
        }
    }

    const fn rank(&self) -> u8 {
        match self {
            Self::Any => 0,
            Self::Suffix(_) => 1,
            Self::Exact(_) => 2,
        }
    }
}

impl Ord for Pattern<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        let (key, theirs) = (self.key(), other.key());
        let length = key.len().cmp(&theirs.len());
        self.rank().cmp(&other.rank()).then(length).then_with(|| key.cmp(theirs))
    }
}

impl PartialOrd for Pattern<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// In the configuration's syntax.
impl fmt::Display for Pattern<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => Ok(()),
            Self::Suffix(suffix) => write!(f, "*{suffix}"),
            Self::Exact(name) => f.write_str(name),
        }
    }
}

/// Why a pattern does not go into a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PatternError {
    /// `*` alone. Leaving `server_names` empty matches every name.
    BareWildcard,
    /// A star elsewhere than in a leading `*.`.
    PartialWildcard,
    /// The same pattern, after lower-casing, is in the table.
    Duplicate,
    /// 2^32 patterns, or as many bytes of text.
    TableFull,
}

impl fmt::Display for PatternError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BareWildcard => "a lone \"*\" is not a server name; leave server_names empty to match all",
            Self::PartialWildcard => "partial wildcards are not supported in server_names",
            Self::Duplicate => "the server name is configured twice",
            Self::TableFull => "too many server names",
        })
    }
}

impl Error for PatternError {}
