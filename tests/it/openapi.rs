//! `openapi.yaml` and the routes say the same.

use std::collections::BTreeSet;

#[test]
fn openapi_yaml_describes_exactly_the_routes() {
    let text = include_str!("../../openapi.yaml");
    let paths = text.lines().skip_while(|line| *line != "paths:").skip(1);
    let paths = paths.take_while(|line| line.is_empty() || line.starts_with([' ', '#']));
    let mut described = BTreeSet::new();
    let mut path = "";
    for line in paths {
        if let Some(rest) = line.strip_prefix("  ").filter(|rest| rest.starts_with('/')) {
            path = rest.trim_end().trim_end_matches(':');
        } else if let Some(method) = line.strip_prefix("    ").and_then(|rest| rest.trim_end().strip_suffix(':'))
            && ["get", "post", "put", "patch", "delete"].contains(&method)
        {
            described.insert((method.to_owned(), path.to_owned()));
        }
    }
    let served: BTreeSet<_> =
        mailwright::api::routes().into_iter().map(|(method, path, _)| (method.to_owned(), path.to_owned())).collect();
    assert_eq!(described, served);
}

#[test]
fn the_readme_lists_every_setting() {
    let readme = include_str!("../../README.md");
    for (name, _) in mailwright::config::SETTINGS {
        assert!(readme.contains(&format!("| `{name}` |")), "README.md lacks {name}");
    }
}
