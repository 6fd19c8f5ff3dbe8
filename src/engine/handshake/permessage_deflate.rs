//! The negotiation of permessage-deflate (RFC 7692, 5 and 7.1).
//!
//! A client calls [`DeflateTerms::offer`], the server [`DeflateTerms::accept`], and with its answer the client calls
//! [`DeflateTerms::confirm`]. Each calls these on the terms that it wants, and the last two return the terms agreed on.

use super::super::deflate::{MAX_WINDOW_BITS, MIN_WINDOW_BITS};
use super::extensions::{Extension, parse_extensions};
use std::fmt;
use std::mem::replace;
use thiserror::Error;

const NAME: &str = "permessage-deflate";
const CLIENT_MAX_WINDOW_BITS: &str = "client_max_window_bits";

/// How both ends compress: what one end wants, or what both have agreed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeflateTerms {
    /// How the server compresses.
    pub server: EndTerms,
    /// How the client compresses.
    pub client: EndTerms,
}

/// How one end compresses what it sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndTerms {
    /// Each message is compressed on its own. In what an end wants, `false` means that it does not matter.
    pub no_context_takeover: bool,
    /// Base-2 logarithm of the largest window. What an end wants must be 9 to 15, because zlib cannot compress with 8;
    /// what is agreed on may also be 8 for the client's messages, and in the client's view for the server's.
    pub max_window_bits: u8,
}

/// The server's answer cannot be used: the client must fail the connection (RFC 7692, 5.1 and 7.1). The caller should
/// append the answer to the text.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum NotAgreed {
    /// The answer is malformed, or names another extension, the extension twice, or parameters that are unknown,
    /// repeated or invalid.
    #[error("the server's Sec-WebSocket-Extensions is no answer to what was offered")]
    NotOffered,
    /// 7.1.1.1: a server accepts an offer with this parameter by including it in the answer.
    #[error("the server did not agree to server_no_context_takeover")]
    ServerContextTakeover,
}

impl DeflateTerms {
    /// Returns the value of the request's Sec-WebSocket-Extensions. If a window is to be smaller than 15, it has two
    /// offers, because servers that do not know window sizes decline the first. So the server's window may turn out
    /// larger than wanted, but context takeover may not.
    pub fn offer(&self) -> String {
        let offer = Parameters::of_terms(self);
        // Without this parameter, the server must not limit the client's window (7.1.2.2).
        let fallback = format!("{}; {CLIENT_MAX_WINDOW_BITS}", offer.without_windows());
        if offer == offer.without_windows() { fallback } else { format!("{offer}, {fallback}") }
    }

    /// Takes the value of the request's Sec-WebSocket-Extensions. Returns the value of the response's, and the terms
    /// agreed on; `None` if the server must decline. It accepts the first offer that it can: offers are in the order of
    /// the client's preference (5). Offers with unknown, repeated or invalid parameters are skipped (7.1), and a
    /// malformed header offers nothing.
    pub fn accept(&self, offers: &[u8]) -> Option<(String, Self)> {
        let extensions = parse_extensions(offers).ok()?;
        let mut offers = extensions.iter().filter(|extension| extension.is(NAME));
        offers.find_map(|offer| self.agree(&Parameters::parse(offer, Origin::Offer)?))
    }

    fn agree(&self, offer: &Parameters) -> Option<(String, Self)> {
        let server = EndTerms {
            no_context_takeover: offer.server.no_context_takeover || self.server.no_context_takeover,
            max_window_bits: least(offer.server.max_window_bits, self.server.max_window_bits),
        };
        if server.max_window_bits < MIN_WINDOW_BITS {
            return None;
        }
        let client = EndTerms {
            no_context_takeover: offer.client.no_context_takeover || self.client.no_context_takeover,
            // A client that does not offer the parameter may not know it (7.1.2.2).
            max_window_bits: match offer.client.max_window_bits {
                Some(bits) => bits.min(self.client.max_window_bits),
                None => MAX_WINDOW_BITS,
            },
        };
        let agreed = Self { server, client };
        let mut answer = Parameters::of_terms(&agreed);
        // A server accepts an offer that has the parameter by including it in the answer (7.1.2.1), even if it limits
        // nothing.
        answer.server.max_window_bits = answer.server.max_window_bits.or(offer.server.max_window_bits);
        Some((answer.to_string(), agreed))
    }

    /// Takes the value of the response's Sec-WebSocket-Extensions, empty if there is none. Returns the terms agreed on, or
    /// `None` if the server has declined. Call this on the terms that were offered, and fail the connection if there is an
    /// error. The client's window and context takeover are always within what it wanted: the answer limits what a client
    /// may do, and it may do less (7.1.1.2, 7.1.2.2).
    ///
    /// # Errors
    /// A [`NotAgreed`] if the answer is not one to [`Self::offer`].
    pub fn confirm(&self, response: &[u8]) -> Result<Option<Self>, NotAgreed> {
        if response.trim_ascii().is_empty() {
            return Ok(None);
        }
        let answer = parse_answer(response).ok_or(NotAgreed::NotOffered)?;
        if self.server.no_context_takeover && !answer.server.no_context_takeover {
            return Err(NotAgreed::ServerContextTakeover);
        }
        let server = EndTerms {
            no_context_takeover: answer.server.no_context_takeover,
            max_window_bits: answer.server.max_window_bits.unwrap_or(MAX_WINDOW_BITS),
        };
        let client = EndTerms {
            no_context_takeover: answer.client.no_context_takeover || self.client.no_context_takeover,
            max_window_bits: least(answer.client.max_window_bits, self.client.max_window_bits),
        };
        Ok(Some(Self { server, client }))
    }
}

fn parse_answer(response: &[u8]) -> Option<Parameters> {
    match &parse_extensions(response).ok()?[..] {
        [extension] if extension.is(NAME) => Parameters::parse(extension, Origin::Answer),
        _ => None,
    }
}

fn least(bits: Option<u8>, own: u8) -> u8 {
    bits.map_or(own, |bits| bits.min(own))
}

/// Where parameters come from.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Origin {
    Offer,
    Answer,
}

/// The parameters of an offer or an answer.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Parameters {
    server: EndParameters,
    client: EndParameters,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct EndParameters {
    no_context_takeover: bool,
    max_window_bits: Option<u8>,
}

impl From<EndTerms> for EndParameters {
    fn from(EndTerms { no_context_takeover, max_window_bits }: EndTerms) -> Self {
        // Without the parameter, the window may have any size.
        let max_window_bits = Some(max_window_bits).filter(|&bits| bits < MAX_WINDOW_BITS);
        Self { no_context_takeover, max_window_bits }
    }
}

impl Parameters {
    fn of_terms(terms: &DeflateTerms) -> Self {
        Self { server: terms.server.into(), client: terms.client.into() }
    }

    fn without_windows(self) -> Self {
        let without = |end| EndParameters { max_window_bits: None, ..end };
        Self { server: without(self.server), client: without(self.client) }
    }

    /// Returns `None` if a parameter is unknown, repeated, or has an invalid value (7.1).
    fn parse(extension: &Extension<'_>, origin: Origin) -> Option<Self> {
        let Self { mut server, mut client } = Self::default();
        for parameter in &extension.parameters {
            let value = parameter.value.as_deref();
            match &*parameter.name.to_ascii_lowercase() {
                "server_no_context_takeover" => server.set_no_context_takeover(value)?,
                "client_no_context_takeover" => client.set_no_context_takeover(value)?,
                "server_max_window_bits" => server.set_max_window_bits(value?)?,
                // Only an offer may have this without a value: the client then lets the server choose (7.1.2.2).
                CLIENT_MAX_WINDOW_BITS if origin == Origin::Offer => {
                    client.set_max_window_bits(value.unwrap_or(b"15"))?
                }
                CLIENT_MAX_WINDOW_BITS => client.set_max_window_bits(value?)?,
                _ => return None,
            }
        }
        Some(Self { server, client })
    }
}

impl EndParameters {
    fn set_no_context_takeover(&mut self, value: Option<&[u8]>) -> Option<()> {
        let is_repeated = replace(&mut self.no_context_takeover, true);
        (value.is_none() && !is_repeated).then_some(())
    }

    fn set_max_window_bits(&mut self, value: &[u8]) -> Option<()> {
        // 8 to 15, without leading zeroes (7.1.2).
        let bits = match *value {
            [digit @ b'8'..=b'9'] => digit - b'0',
            [b'1', digit @ b'0'..=b'5'] => 10 + (digit - b'0'),
            _ => return None,
        };
        self.max_window_bits.replace(bits).is_none().then_some(())
    }
}

impl fmt::Display for Parameters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ends = [("server", self.server), ("client", self.client)];
        f.write_str(NAME)?;
        for (end, _) in ends.iter().filter(|(_, parameters)| parameters.no_context_takeover) {
            write!(f, "; {end}_no_context_takeover")?;
        }
        for (end, parameters) in ends {
            if let Some(bits) = parameters.max_window_bits {
                write!(f, "; {end}_max_window_bits={bits}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WANTED: DeflateTerms = DeflateTerms {
        server: EndTerms { no_context_takeover: false, max_window_bits: 12 },
        client: EndTerms { no_context_takeover: false, max_window_bits: 12 },
    };
    const WANTED_ALONE: DeflateTerms = DeflateTerms {
        server: EndTerms { no_context_takeover: true, max_window_bits: 15 },
        client: EndTerms { no_context_takeover: true, max_window_bits: 15 },
    };

    /// Writes terms as the server's and the client's window, each with a minus sign if there is no context takeover.
    fn short(terms: DeflateTerms) -> [i8; 2] {
        [terms.server, terms.client].map(|end| {
            let bits = i8::try_from(end.max_window_bits).expect("a small number");
            if end.no_context_takeover { -bits } else { bits }
        })
    }

    #[test]
    fn an_offer_of_windows_is_followed_by_one_without() {
        assert_eq!(
            WANTED.offer(),
            "permessage-deflate; server_max_window_bits=12; client_max_window_bits=12, \
             permessage-deflate; client_max_window_bits"
        );
        assert_eq!(
            WANTED_ALONE.offer(),
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover; client_max_window_bits"
        );
    }

    #[test]
    fn the_first_acceptable_offer_is_accepted() {
        let vectors = [
            ("permessage-deflate", "permessage-deflate; server_max_window_bits=12", [12, 15]),
            (
                "permessage-deflate; client_max_window_bits",
                "permessage-deflate; server_max_window_bits=12; client_max_window_bits=12",
                [12, 12],
            ),
            (
                "PERMESSAGE-DEFLATE; Client_Max_Window_Bits=\"8\"; server_no_context_takeover",
                "permessage-deflate; server_no_context_takeover; server_max_window_bits=12; client_max_window_bits=8",
                [-12, 8],
            ),
            (
                "other, permessage-deflate; other, permessage-deflate; server_max_window_bits=8, \
                 permessage-deflate; server_max_window_bits=10; client_no_context_takeover, permessage-deflate",
                "permessage-deflate; client_no_context_takeover; server_max_window_bits=10",
                [10, -15],
            ),
        ];
        for (offers, response, terms) in vectors {
            let (written, agreed) = WANTED.accept(offers.as_bytes()).expect(offers);
            assert_eq!((written.as_str(), short(agreed)), (response, terms), "{offers}");
        }
        let (written, _) = WANTED_ALONE.accept(b"permessage-deflate; server_max_window_bits=15").expect("acceptable");
        assert!(written.contains("server_max_window_bits=15"), "{written}");
        let (written, agreed) = WANTED_ALONE.accept(b"permessage-deflate").expect("acceptable");
        assert_eq!(written, "permessage-deflate; server_no_context_takeover; client_no_context_takeover");
        assert_eq!(agreed, WANTED_ALONE);
    }

    #[test]
    fn offers_and_answers_with_wrong_parameters_are_refused() {
        let wrong = [
            "server_max_window_bits=7",
            "server_max_window_bits=16",
            "server_max_window_bits=012",
            "server_max_window_bits=1",
            "server_max_window_bits=\"\"",
            "server_max_window_bits",
            "client_max_window_bits=x",
            "client_max_window_bits=100",
            "server_no_context_takeover=1",
            "client_no_context_takeover=\"\"",
            "other",
            "other=1",
            "client_max_window_bits=10; client_max_window_bits=10",
            "server_no_context_takeover; Server_No_Context_Takeover",
        ];
        for parameters in wrong {
            let value = format!("permessage-deflate; {parameters}");
            assert_eq!(WANTED.accept(value.as_bytes()), None, "{value}");
            assert_eq!(WANTED.confirm(value.as_bytes()), Err(NotAgreed::NotOffered), "{value}");
        }
        for value in ["other", "permessage-deflate-2", ",", "permessage-deflate;", "="] {
            assert_eq!(WANTED.accept(value.as_bytes()), None, "{value}");
            assert_eq!(WANTED.confirm(value.as_bytes()), Err(NotAgreed::NotOffered), "{value}");
        }
    }

    #[test]
    fn an_answer_is_confirmed_if_it_can_be_one_to_the_offer() {
        let vectors = [
            ("permessage-deflate", [15, 12]),
            ("permessage-deflate; server_max_window_bits=8; client_max_window_bits=8", [8, 8]),
            ("permessage-deflate; client_max_window_bits=15", [15, 12]),
            ("permessage-deflate; server_no_context_takeover; client_no_context_takeover", [-15, -12]),
        ];
        for (answer, terms) in vectors {
            let agreed = WANTED.confirm(answer.as_bytes());
            assert_eq!(agreed.map(|agreed| agreed.map(short)), Ok(Some(terms)), "{answer}");
        }
        for answer in ["", " \t"] {
            assert_eq!(WANTED.confirm(answer.as_bytes()), Ok(None), "declined with {answer:?}");
        }
        for answer in [
            "permessage-deflate, permessage-deflate",
            "permessage-deflate, other",
            "permessage-deflate; client_max_window_bits",
        ] {
            assert_eq!(WANTED.confirm(answer.as_bytes()), Err(NotAgreed::NotOffered), "{answer}");
        }
    }

    #[test]
    fn the_server_may_not_ignore_that_it_must_forget() {
        assert_eq!(WANTED_ALONE.confirm(b"permessage-deflate"), Err(NotAgreed::ServerContextTakeover));
        let agreed = WANTED_ALONE.confirm(b"permessage-deflate; server_no_context_takeover");
        assert_eq!(agreed, Ok(Some(WANTED_ALONE)), "a client forgets whether the server asks for it or not");
    }
}
