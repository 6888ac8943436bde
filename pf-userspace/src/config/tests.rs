//! The file, the table of options and the reference agree; every fault is found, with its line.

use std::path::Path;

use super::{
    check::check,
    finding::{Finding, Severity},
    model::Config,
    options, reference,
};

const GOOD: &str = "[registrar]\ndomains = [\"example.org\"]\n";

fn faults(text: &str) -> Vec<(usize, String, String)> {
    let checked = check(Path::new("/nowhere/pf.toml"), text);
    checked
        .findings
        .iter()
        .filter(|f| f.severity == Severity::Error)
        .map(|f| (f.line, f.key.clone(), f.message.clone()))
        .collect()
}

#[test]
fn every_field_has_an_option_and_every_option_a_field() {
    // Optional fields are not in the default's output: fill them.
    let mut config = Config::default();
    config.sip.advertise = Some("pf.example.org".into());
    config.sip.core = Some("sip:core".into());
    config.sip.isf = Some("sip:isf".into());
    config.sip.own_uri = Some("sip:pf@example.org".into());
    config.sip.transactions_per_source = Some(1000);
    config.msrp.advertise = Some([192, 0, 2, 7].into());
    config.registrar.users = Some("users.toml".into());
    config.store.path = Some("store.jsonl".into());
    config.xdms.root = Some("http://xdms".into());
    config.policy.client_version =
        Some(crate::core::policy::VersionRule::Minimum(crate::core::policy::Release { major: 2, minor: 2 }));
    let toml::Value::Table(top) = toml::Value::try_from(config).unwrap() else { panic!("a table") };
    let mut fields = Vec::new();
    for (name, value) in &top {
        match value {
            toml::Value::Table(table) => fields.extend(table.keys().map(|key| format!("{name}.{key}"))),
            _ => fields.push(name.clone()),
        }
    }
    fields.sort();
    let mut keys: Vec<String> = options::all().map(|o| o.key.to_owned()).collect();
    keys.sort();
    assert_eq!(fields, keys);
}

#[test]
fn every_example_is_accepted_by_the_check_and_by_the_typed_reader() {
    for option in options::all() {
        let text = match option.key.split_once('.') {
            Some((table, key)) => format!("[{table}]\n{key} = {}\n", option.example),
            None => format!("{} = {}\n", option.key, option.example),
        };
        toml::from_str::<Config>(&text).unwrap_or_else(|e| panic!("{}: {e}", option.key));
        let misfits: Vec<_> = faults(&text)
            .into_iter()
            .filter(|(_, key, _)| key.starts_with(option.key) && option.key != "registrar.users")
            .collect();
        assert_eq!(misfits, [], "{}", option.key);
    }
}

#[test]
fn the_reference_page_is_fresh() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/configuration.md");
    let stands = std::fs::read_to_string(&page).unwrap_or_default();
    assert!(
        stands == reference::markdown(),
        "docs/configuration.md is stale: cargo run -p pf -- config --reference > docs/configuration.md"
    );
}

#[test]
fn the_packaged_example_has_no_errors() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging");
    let checked = super::load(&folder.join("pf.toml"));
    let errors: Vec<String> =
        checked.findings.iter().filter(|f| f.severity == Severity::Error).map(ToString::to_string).collect();
    assert_eq!(errors, Vec::<String>::new());
    assert!(!checked.users.is_empty(), "the example's users file has users");
}

#[test]
fn a_minimal_file_is_enough() {
    let checked = check(Path::new("/nowhere/pf.toml"), GOOD);
    let config = checked.config.expect("no errors");
    assert_eq!(config.sip.listen.len(), 2);
    assert_eq!(config.policy.session_expires, 1800);
}

#[test]
fn each_fault_is_found_with_its_line() {
    let text = "\
stat_dir = \"x\"
[sip]
listen = [\"udp:127.0.0.1:5060\", \"udp:10.0.0\", \"tls:127.0.0.1:5061\"]
trusted = [\"core.example.org\"]
core = \"10.0.0.5\"
[msrp]
workers = 0
[policy]
session_expires = 60
identify = \"none\"
client_version = { min = \"2.2\" }
direct_delivery = \"yes\"
level = \"info\"
[polcy]
";
    let found = faults(text);
    let lines: Vec<usize> = found.iter().map(|(line, ..)| *line).collect();
    assert_eq!(lines, [1, 3, 3, 4, 5, 7, 9, 10, 11, 12, 13, 14], "{found:#?}");
}

#[test]
fn faults_of_the_guard_are_found() {
    let text = format!(
        "{GOOD}\n[guard]\ninterfaces = [\"lo\", \"nosuch0\", \"lo\"]\nmode = \"auto\"\nsources = 4096\n"
    );
    let found = check(Path::new("/nowhere/pf.toml"), &text).findings;
    let has = |severity, word: &str| {
        let fits = |f: &&Finding| f.severity == severity && f.message.contains(word);
        found.iter().filter(fits).any(|f| f.key.starts_with("guard.interfaces"))
    };
    assert!(has(Severity::Warning, "no interface `nosuch0`"), "{found:#?}");
    assert!(has(Severity::Error, "stands here twice"), "{found:#?}");
    assert_eq!(has(Severity::Error, "no kernel programs"), !crate::fastpath::built(), "{found:#?}");
    for bad in ["interfaces = [\"a/b\"]", "mode = \"fast\"", "packets_per_second = 1", "sources = 10"] {
        let found = faults(&format!("{GOOD}\n[guard]\n{bad}\n"));
        assert!(found.iter().any(|(_, key, _)| key.starts_with("guard")), "{bad}: {found:#?}");
    }
}

#[test]
fn several_syntax_errors_are_all_told() {
    let found =
        faults("[sip]\nlisten = [\"udp:127.0.0.1:5060\"\n[msrp]\nworkers = = 2\n[log]\nlevel = 'info\n");
    assert!(found.len() >= 2, "{found:#?}");
    assert!(found.iter().any(|(line, ..)| *line == 4), "{found:#?}");
}

#[test]
fn misspelt_and_misplaced_options_are_pointed_out() {
    let checked = check(Path::new("/nowhere/pf.toml"), "fastpath = \"auto\"\nworkers = 2\n[sip]\nlog = 1\n");
    let help: Vec<&str> = checked.findings.iter().map(|f| f.help.as_str()).collect();
    assert_eq!(help[0], "did you mean `fast_path`?");
    assert_eq!(help[1], "`workers` belongs under `[msrp]`");
}

#[test]
fn ports_that_clash_are_an_error() {
    let clash = |sip: &str, msrp: &str| {
        faults(&format!("{GOOD}[sip]\nlisten = [{sip}]\n[msrp]\nlisten = [{msrp}]\n"))
            .iter()
            .filter(|(_, _, message)| message.contains("is taken by"))
            .count()
    };
    assert_eq!(clash("\"udp:127.0.0.1:5060\", \"tcp:127.0.0.1:5060\"", "\"127.0.0.1:2855\""), 0);
    assert_eq!(clash("\"udp:127.0.0.1:5060\", \"udp:127.0.0.1:5060\"", "\"127.0.0.1:2855\""), 1);
    assert_eq!(clash("\"tcp:127.0.0.1:2855\"", "\"127.0.0.1:2855\""), 1);
    assert_eq!(clash("\"udp:127.0.0.1:2855\"", "\"127.0.0.1:2855\""), 0);
    assert_eq!(clash("\"tcp:0.0.0.0:2855\"", "\"127.0.0.1:2855\""), 1);
    assert_eq!(clash("\"udp:127.0.0.1:0\", \"udp:127.0.0.1:0\"", "\"127.0.0.1:0\""), 0);
}

#[test]
fn what_pf_would_not_accept_itself_is_an_error() {
    let found = faults(&format!("{GOOD}[policy]\nsession_expires = 120\nmin_session_expires = 600\n"));
    assert_eq!(
        found.iter().map(|(line, key, _)| (*line, key.as_str())).collect::<Vec<_>>(),
        [(4, "policy.session_expires")]
    );
}

#[test]
fn a_media_path_option_that_does_nothing_is_a_warning() {
    for (policy, key) in [
        ("media_path = \"when-needed\"", Some("policy.media_path")),
        ("media_path = \"when-needed\"\ndirect_delivery = false", None),
        ("media_path_users = [\"sip:alice@example.org\"]", Some("policy.media_path_users")),
        ("media_path = \"sometimes\"", Some("policy.media_path")),
    ] {
        let found = check(Path::new("/nowhere/pf.toml"), &format!("{GOOD}[policy]\n{policy}\n")).findings;
        let about = found.iter().find(|f| f.key.starts_with("policy.media_path")).map(|f| f.key.as_str());
        assert_eq!(about, key, "{policy}: {found:#?}");
    }
}

#[test]
fn a_next_hop_that_pf_could_not_reach_is_an_error() {
    let count = |core: &str| faults(&format!("{GOOD}[sip]\ncore = \"{core}\"\n")).len();
    for good in ["sip:10.0.0.5", "sip:core.example.org:5070;transport=TCP;lr", "sip:[2001:db8::1]:5060"] {
        assert_eq!(count(good), 0, "{good}");
    }
    for bad in
        ["10.0.0.5", "sips:10.0.0.5", "sip:10.0.0.5;transport=tls", "<sip:10.0.0.5>", "sip:10.0.0.5:99999"]
    {
        assert_eq!(count(bad), 1, "{bad}");
    }
}

#[test]
fn an_xdms_that_pf_could_not_ask_is_an_error() {
    let count = |lines: &str| faults(&format!("{GOOD}[xdms]\n{lines}\n")).len();
    for good in ["http://10.0.0.9", "http://xdms.example.org:8080/services/", "http://[2001:db8::1]/x"] {
        assert_eq!(count(&format!("root = \"{good}\"")), 0, "{good}");
    }
    let bad_roots = [
        "https://xdms",
        "xdms.example.org",
        "ftp://xdms",
        "http://",
        "http://a@xdms/",
        "http://xdms/?a=b",
        "/x",
        "",
    ];
    for bad in bad_roots {
        assert_eq!(count(&format!("root = \"{bad}\"")), 1, "{bad}");
    }
    assert_eq!(count("identity_header = \"X Asserted\""), 1);
    assert_eq!(count("wait_seconds = 0"), 1);
    let warns = |text: &str| {
        let found = check(Path::new("/nowhere/pf.toml"), text).findings;
        found.iter().any(|f| f.key == "xdms.root" && f.severity == Severity::Warning)
    };
    let text = format!("{GOOD}[xdms]\nroot = \"http://xdms\"\n");
    assert!(warns(&text), "without a store it does nothing");
    assert!(!warns(&format!("{text}[store]\nkind = \"journal\"\n")));
}

#[test]
fn an_address_of_another_host_and_a_bare_wildcard_are_warnings() {
    let text = format!("{GOOD}[sip]\nlisten = [\"udp:192.0.2.200:5060\", \"tcp:0.0.0.0:5060\"]\n");
    let checked = check(Path::new("/nowhere/pf.toml"), &text);
    let warned: Vec<(usize, &str)> =
        checked.findings.iter().map(|f| (f.line, f.key.as_str())).filter(|(line, _)| *line == 4).collect();
    assert_eq!(warned, [(4, "sip.listen[0]"), (4, "sip.listen[1]")]);
    assert!(checked.config.is_some(), "warnings do not keep pf from starting");
}

#[test]
fn a_missing_users_file_is_an_error_at_its_line() {
    let found = faults("[registrar]\ndomains = [\"example.org\"]\nusers = \"users.toml\"\n");
    assert_eq!(found.len(), 1, "{found:#?}");
    assert_eq!((found[0].0, found[0].1.as_str()), (3, "registrar.users"));
    assert!(found[0].2.contains("/nowhere/users.toml"));
}

#[test]
fn digest_algorithms_are_known_ones_and_each_stands_once() {
    use crate::core::config::DigestAlgorithm::{Md5, Sha256};
    let read = |list: &str| {
        let checked = check(Path::new("/nowhere/pf.toml"), &format!("{GOOD}digest = {list}\n"));
        checked.config.map(|config| config.registrar.digest)
    };
    assert_eq!(check(Path::new("/nowhere/pf.toml"), GOOD).config.unwrap().registrar.digest, [Sha256, Md5]);
    assert_eq!(read(r#"["MD5", "SHA-256"]"#), Some(vec![Md5, Sha256]));
    assert_eq!(read(r#"["SHA-256"]"#), Some(vec![Sha256]));
    for (list, key) in [
        ("[]", "registrar.digest"),
        (r#"["SHA-1"]"#, "registrar.digest"),
        (r#"["md5"]"#, "registrar.digest"),
        (r#"["MD5", "SHA-256", "MD5"]"#, "registrar.digest[2]"),
    ] {
        let found = faults(&format!("{GOOD}digest = {list}\n"));
        assert_eq!(found.iter().map(|(line, key, _)| (*line, key.as_str())).collect::<Vec<_>>(), [(3, key)]);
    }
}

#[test]
fn each_fault_of_a_users_file_is_found_with_its_line() {
    let text = "\
[[user]]
addresses = [\"sip:alice@example.org\"]
username = \"alice\"
password = \"a\"
[[user]]
addresses = [\"sip:alice@example.org\", \"sip:bob@example.com\"]
username = \"alice\"
password = \"b\"
";
    let (_, findings) = super::users::check(Path::new("users.toml"), text, &["example.org".to_owned()]);
    let lines: Vec<usize> = findings.iter().map(|f| f.line).collect();
    assert_eq!(lines, [6, 6, 7], "{findings:#?}");

    let text = "\
[[user]]
addresses = [\"sip:alice@example.org\", \"sips:alice@example.org\", \"tel:+1-555-0100\"]
username = \"alice\"
password = \"a\"
[[user]]
addresses = [\"sip:bob@example.org\", \"tel:+15550100\"]
username = \"bob\"
password = \"b\"
";
    let (_, findings) = super::users::check(Path::new("users.toml"), text, &["example.org".to_owned()]);
    let lines: Vec<usize> = findings.iter().map(|f| f.line).collect();
    assert_eq!(lines, [6], "the same number, written differently: {findings:#?}");

    let text = "[[user]]\naddresses = [\"alice\"]\nuser = \"alice\"\npassword = \"\"\n";
    let (users, findings) = super::users::check(Path::new("users.toml"), text, &[]);
    let lines: Vec<usize> = findings.iter().map(|f| f.line).collect();
    assert!(users.is_empty());
    assert_eq!(lines.len(), 4, "{findings:#?}");
}

#[test]
fn the_readme_shows_files_without_errors() {
    let readme = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md")).unwrap();
    let blocks: Vec<&str> =
        readme.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert_eq!(blocks.len(), 2, "a configuration and a users file");
    let folder = std::env::temp_dir().join(format!("pf-readme-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("users.toml"), blocks[1]).unwrap();
    let checked = check(&folder.join("pf.toml"), blocks[0]);
    std::fs::remove_dir_all(&folder).unwrap();
    assert_eq!(checked.errors(), 0, "{:#?}", checked.findings);
    assert_eq!(checked.users.len(), 1);
}
