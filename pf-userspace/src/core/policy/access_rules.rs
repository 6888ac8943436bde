//! A user's access rules as the XDMS keeps them: an RFC 4745 `ruleset` whose `<actions>` say what is to be done with
//! the user's messages. Of the actions we read those of clause 8.4.1, of the conditions those that can be told here.

use std::str::FromStr;

use roxmltree::{Document, Node, ParsingOptions};
use toml::value::Datetime;

use super::preferences::Preferences;
use crate::core::{registry::same_address, sip::Uri};

/// Namespace of `ruleset`, `rule`, `conditions`, `actions` and the conditions of RFC 4745.
const COMMON_POLICY: &str = "urn:ietf:params:xml:ns:common-policy";
/// Namespace of the OMA conditions.
const OMA_CONDITIONS: &str = "urn:oma:xml:xdm:common-policy";
/// Namespace of the OMA actions, `allow-offline-storage` among them.
const OMA_ACTIONS: &str = "urn:oma:xml:xdm:extensions";

/// The longest document that is read, in octets.
pub const MAX_DOCUMENT: usize = 64 << 10;
/// The most nodes of a document.
const MAX_NODES: u32 = 8192;

/// The document says nothing that can be relied on.
#[derive(Debug, thiserror::Error)]
pub enum RulesError {
    /// It is not UTF-8.
    #[error("the document is not UTF-8")]
    Encoding,
    /// It is no XML, or has a document type definition.
    #[error("the document is no XML: {0}")]
    Xml(#[from] roxmltree::Error),
    /// It is XML of another kind.
    #[error("the document is no ruleset of {COMMON_POLICY}")]
    Foreign,
    /// It is too long.
    #[error("the document is longer than {MAX_DOCUMENT} octets")]
    Long,
}

/// What a user has laid down, rule by rule.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccessRules {
    rules: Vec<Rule>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Rule {
    conditions: Vec<Condition>,
    actions: Preferences,
}

/// One element of `<conditions>`; a rule holds when all of them do (RFC 4745 section 7).
#[derive(Clone, Debug, PartialEq, Eq)]
enum Condition {
    /// `<identity>`: the other party is one of these; an empty one is for anybody.
    Identity(Vec<Identity>),
    /// `<other-identity>`: no rule names the other party.
    OtherIdentity,
    /// `<validity>`: within one of these spans, in seconds since 1970, the end not included.
    Validity(Vec<(i64, i64)>),
    /// What is not known here does not hold: sphere, external lists, whatever else.
    Unknown,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Identity {
    /// `<one id="...">`
    One(String),
    /// `<many domain="...">` without those of `<except>`: addresses, then domains.
    Many { domain: Option<String>, except: Vec<String>, except_domains: Vec<String> },
}

impl AccessRules {
    /// Reads a document.
    ///
    /// # Errors
    /// [`RulesError`]; what a document says beside the actions known here is no error.
    pub fn parse(document: &[u8]) -> Result<AccessRules, RulesError> {
        if document.len() > MAX_DOCUMENT {
            return Err(RulesError::Long);
        }
        let text = std::str::from_utf8(document).map_err(|_| RulesError::Encoding)?;
        let options = ParsingOptions { nodes_limit: MAX_NODES, ..ParsingOptions::default() };
        let document = Document::parse_with_options(text, options)?;
        let root = document.root_element();
        if !root.has_tag_name((COMMON_POLICY, "ruleset")) {
            return Err(RulesError::Foreign);
        }
        let rules = root.children().filter(|node| node.has_tag_name((COMMON_POLICY, "rule")));
        Ok(AccessRules { rules: rules.map(Rule::read).collect() })
    }

    /// What they come to for what the user says to `other`, at this time in seconds since 1970: of the rules that hold,
    /// one that says true is enough, and what none says is false (RFC 4745 section 10.2).
    pub fn of(&self, other: &str, now: i64) -> Preferences {
        let named = self.rules.iter().any(|rule| rule.names(other));
        let held = self.rules.iter().filter(|rule| rule.holds(other, named, now));
        held.fold(Preferences::default(), |sum, rule| Preferences {
            allow_offline_storage: sum.allow_offline_storage | rule.actions.allow_offline_storage,
            allow_store: sum.allow_store | rule.actions.allow_store,
            allow_defer: sum.allow_defer | rule.actions.allow_defer,
        })
    }
}

impl Rule {
    fn read(rule: Node<'_, '_>) -> Rule {
        let parts = |name| rule.children().filter(move |node| node.has_tag_name((COMMON_POLICY, name)));
        let conditions = parts("conditions").flat_map(|node| node.children()).filter(Node::is_element);
        let says = |name| {
            let mut actions = parts("actions").flat_map(|node| node.children());
            actions.any(|node| node.has_tag_name((OMA_ACTIONS, name)) && is_true(&node))
        };
        Rule {
            conditions: conditions.map(Condition::read).collect(),
            actions: Preferences {
                allow_offline_storage: says("allow-offline-storage"),
                allow_store: says("allow-store"),
                allow_defer: says("allow-defer"),
            },
        }
    }

    fn holds(&self, other: &str, named: bool, now: i64) -> bool {
        self.conditions.iter().all(|condition| match condition {
            Condition::Identity(identities) => {
                identities.is_empty() || identities.iter().any(|identity| identity.is(other))
            }
            Condition::OtherIdentity => !named,
            Condition::Validity(spans) => spans.iter().any(|(from, until)| (*from..*until).contains(&now)),
            Condition::Unknown => false,
        })
    }

    fn names(&self, other: &str) -> bool {
        let identities = self.conditions.iter().filter_map(|condition| match condition {
            Condition::Identity(identities) => Some(identities),
            _ => None,
        });
        identities.flatten().any(|identity| identity.is(other))
    }
}

impl Condition {
    fn read(node: Node<'_, '_>) -> Condition {
        let children = |name| node.children().filter(move |child| child.has_tag_name((COMMON_POLICY, name)));
        if node.has_tag_name((COMMON_POLICY, "identity")) {
            let identities: Vec<Identity> = node.children().filter_map(Identity::read).collect();
            // One that holds nothing but what is unknown here is for nobody.
            let unread = identities.is_empty() && node.children().any(|child| child.is_element());
            return if unread { Condition::Unknown } else { Condition::Identity(identities) };
        }
        if node.has_tag_name((COMMON_POLICY, "validity")) {
            let times = |name| children(name).map(|child| seconds(child.text().unwrap_or_default()));
            let spans = times("from").zip(times("until")).filter_map(|(from, until)| from.zip(until));
            return Condition::Validity(spans.collect());
        }
        match node.has_tag_name((OMA_CONDITIONS, "other-identity")) {
            true => Condition::OtherIdentity,
            false => Condition::Unknown,
        }
    }
}

impl Identity {
    fn read(node: Node<'_, '_>) -> Option<Identity> {
        if node.has_tag_name((COMMON_POLICY, "one")) {
            return Some(Identity::One(node.attribute("id")?.trim().to_owned()));
        }
        let many = node.has_tag_name((COMMON_POLICY, "many"));
        let except = |name: &'static str| {
            let excepts = node.children().filter(|child| child.has_tag_name((COMMON_POLICY, "except")));
            excepts.filter_map(move |child| Some(child.attribute(name)?.trim().to_owned())).collect()
        };
        many.then(|| Identity::Many {
            domain: node.attribute("domain").map(|domain| domain.trim().to_owned()),
            except: except("id"),
            except_domains: except("domain"),
        })
    }

    fn is(&self, other: &str) -> bool {
        match self {
            Identity::One(id) => same_address(id, other),
            Identity::Many { domain, except, except_domains } => {
                domain.as_deref().is_none_or(|domain| is_of(other, domain))
                    && !except.iter().any(|id| same_address(id, other))
                    && !except_domains.iter().any(|domain| is_of(other, domain))
            }
        }
    }
}

fn is_of(address: &str, domain: &str) -> bool {
    Uri::parse(address).is_ok_and(|uri| uri.host.eq_ignore_ascii_case(domain))
}

/// An `xs:boolean`.
fn is_true(node: &Node<'_, '_>) -> bool {
    matches!(node.text().map(str::trim), Some("true" | "1"))
}

/// An `xs:dateTime` with its zone, as seconds since 1970.
fn seconds(text: &str) -> Option<i64> {
    let Datetime { date: Some(date), time: Some(time), offset: Some(offset) } =
        Datetime::from_str(text.trim()).ok()?
    else {
        return None;
    };
    let minutes = match offset {
        toml::value::Offset::Z => 0,
        toml::value::Offset::Custom { minutes } => i64::from(minutes),
    };
    // Days since 1970-01-01 of the Gregorian date: years are counted from March, so that leap days come last.
    let (month, day) = (i64::from(date.month), i64::from(date.day));
    let year = i64::from(date.year) - i64::from(month <= 2);
    let (era, in_year) = (year.div_euclid(400), (153 * ((month + 9) % 12) + 2) / 5 + day - 1);
    let year = year.rem_euclid(400);
    let days = era * 146_097 + year * 365 + year / 4 - year / 100 + in_year - 719_468;
    let (hour, minute) = (i64::from(time.hour), i64::from(time.minute));
    let second = time.second.map_or(0, i64::from);
    Some(days * 86_400 + hour * 3600 + (minute - minutes) * 60 + second)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOB: &str = "sip:bob@far.example.net";

    fn ruleset(rules: &str) -> AccessRules {
        let text = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?><cp:ruleset xmlns:cp=\"{COMMON_POLICY}\" \
             xmlns:c=\"{OMA_CONDITIONS}\" xmlns:x=\"{OMA_ACTIONS}\" xmlns:y=\"urn:example\">{rules}</cp:ruleset>"
        );
        AccessRules::parse(text.as_bytes()).unwrap()
    }

    fn rule(conditions: &str, value: &str) -> String {
        format!(
            "<cp:rule id=\"r\"><cp:conditions>{conditions}</cp:conditions><cp:actions>\
             <x:allow-offline-storage>{value}</x:allow-offline-storage></cp:actions></cp:rule>"
        )
    }

    fn recorded(rules: &str) -> bool {
        ruleset(rules).of(BOB, 1_000_000_000).allow_offline_storage
    }

    #[test]
    fn what_no_rule_says_is_false_and_one_that_says_true_is_enough() {
        assert!(!recorded(""));
        assert!(!recorded("<cp:rule id=\"r\"/>"));
        assert!(!recorded("<cp:rule id=\"r\"><cp:actions/></cp:rule>"));
        for (value, said) in [("true", true), (" 1\n", true), ("false", false), ("0", false), ("yes", false)]
        {
            assert_eq!(recorded(&rule("", value)), said, "{value}");
        }
        assert!(recorded(&(rule("", "false") + &rule("", "true"))));
        assert!(!recorded(
            &(rule("", "false") + &rule("<cp:identity><cp:one id=\"sip:x@y\"/></cp:identity>", "true"))
        ));
    }

    #[test]
    fn names_count_in_their_namespaces_only() {
        let with = |element: &str| format!("<cp:rule id=\"r\"><cp:actions>{element}</cp:actions></cp:rule>");
        assert!(recorded(&with("<x:allow-offline-storage>true</x:allow-offline-storage>")));
        assert!(!recorded(&with("<y:allow-offline-storage>true</y:allow-offline-storage>")));
        assert!(!recorded(&with("<cp:allow-offline-storage>true</cp:allow-offline-storage>")));
        // Not among the actions.
        assert!(!recorded(
            "<cp:rule id=\"r\"><cp:transformations><x:allow-offline-storage>true</x:allow-offline-storage>\
             </cp:transformations></cp:rule>"
        ));
        let all =
            ruleset(&with("<x:allow-store>true</x:allow-store><x:allow-defer>1</x:allow-defer>")).of(BOB, 0);
        assert_eq!(all, Preferences { allow_offline_storage: false, allow_store: true, allow_defer: true });
    }

    #[test]
    fn a_rule_counts_when_all_its_conditions_hold() {
        for (conditions, holds) in [
            ("<cp:identity/>", true),
            ("<cp:identity><cp:one id=\"sip:bob@FAR.example.net\"/></cp:identity>", true),
            ("<cp:identity><cp:one id=\"sip:eve@far.example.net\"/></cp:identity>", false),
            ("<cp:identity><cp:many/></cp:identity>", true),
            ("<cp:identity><cp:many domain=\"far.example.net\"/></cp:identity>", true),
            ("<cp:identity><cp:many domain=\"example.net\"/></cp:identity>", false),
            (
                "<cp:identity><cp:many><cp:except id=\"sip:bob@far.example.net\"/></cp:many></cp:identity>",
                false,
            ),
            ("<cp:identity><cp:many><cp:except domain=\"far.example.net\"/></cp:many></cp:identity>", false),
            ("<cp:identity><y:group/></cp:identity>", false),
            ("<c:other-identity/>", true),
            ("<c:external-list><c:entry anc=\"http://x/y\"/></c:external-list>", false),
            ("<cp:sphere value=\"work\"/>", false),
            ("<y:moon phase=\"full\"/>", false),
            // 1000000000 is 2001-09-09T01:46:40Z.
            (
                "<cp:validity><cp:from>2001-09-09T03:46:40+02:00</cp:from>\
                 <cp:until>2001-09-09T01:46:41Z</cp:until></cp:validity>",
                true,
            ),
            (
                "<cp:validity><cp:from>2001-09-09T01:46:41Z</cp:from>\
                 <cp:until>2031-09-09T00:00:00Z</cp:until></cp:validity>",
                false,
            ),
            ("<cp:validity><cp:from>soon</cp:from><cp:until>later</cp:until></cp:validity>", false),
            ("<cp:identity/><cp:sphere value=\"work\"/>", false),
        ] {
            assert_eq!(recorded(&rule(conditions, "true")), holds, "{conditions}");
        }
        // Who is named has a rule of its own.
        let named = rule("<cp:identity><cp:one id=\"sip:bob@far.example.net\"/></cp:identity>", "false");
        assert!(!recorded(&(named + &rule("<c:other-identity/>", "true"))));
    }

    #[test]
    fn other_documents_are_refused() {
        for text in
            ["", "{}", "<ruleset/>", "<a xmlns=\"urn:ietf:params:xml:ns:common-policy\"/>", "<a", "\u{fffe}"]
        {
            assert!(AccessRules::parse(text.as_bytes()).is_err(), "{text}");
        }
        let bomb =
            format!("<!DOCTYPE a [<!ENTITY b \"c\">]><ruleset xmlns=\"{COMMON_POLICY}\">&b;</ruleset>");
        assert!(matches!(AccessRules::parse(bomb.as_bytes()), Err(RulesError::Xml(_))));
        assert!(matches!(AccessRules::parse(&[b' '; MAX_DOCUMENT + 1]), Err(RulesError::Long)));
        assert!(matches!(AccessRules::parse(&[0xff]), Err(RulesError::Encoding)));
        let nodes = "<a/>".repeat(MAX_NODES as usize);
        let text = format!("<ruleset xmlns=\"{COMMON_POLICY}\">{nodes}</ruleset>");
        assert!(matches!(AccessRules::parse(text.as_bytes()), Err(RulesError::Xml(_))));
    }
}
