//! `/`: what there is, for a person with a browser.

/// Endpoints and what they show.
const ENDPOINTS: [(&str, &str); 11] = [
    ("varz", "General"),
    ("connz", "Connections"),
    ("subsz", "Subscriptions"),
    ("accountz", "Accounts"),
    ("routez", "Routes"),
    ("gatewayz", "Gateways"),
    ("leafz", "Leaf nodes"),
    ("accstatz", "Account statistics"),
    ("jsz", "JetStream"),
    ("healthz", "Health"),
    ("metrics", "Metrics for Prometheus"),
];

/// The page.
pub(super) fn page(version: &str) -> String {
    let links: String = ENDPOINTS
        .iter()
        .map(|(path, name)| format!("<li><a href=./{path}>{name}</a> <code>/{path}</code></li>\n"))
        .collect();
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\"><title>Ramjet</title></head>\n\
         <body style=\"font-family: system-ui, sans-serif; margin: 2em\">\n\
         <h1>Ramjet {version}</h1>\n<ul>\n{links}</ul>\n</body>\n</html>\n"
    )
}
