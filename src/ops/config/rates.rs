//! `rate_limits` (beyond stock): what users, accounts and addresses may send in a second.

use super::error::ProblemKind;
use super::report::Report;
use super::value::Value;
use crate::options::{RateOptions, Rates};

/// Reads the block.
pub fn read(report: &mut Report, value: &Value) -> RateOptions {
    let mut options = RateOptions::default();
    let wrong_type = "Expected rate_limits to be a map/struct";
    let Some(map) = report.map(wrong_type, value) else {
        return options;
    };
    for (key, value) in map.iter() {
        let rates = match String::from_utf8_lossy(key).to_lowercase().as_str() {
            "user" => &mut options.user,
            "account" => &mut options.account,
            "address" => &mut options.address,
            _ => {
                report.unknown_field_in(("Unknown field ", " parsing rate_limits"), key, value);
                continue;
            }
        };
        *rates = of_one(report, value);
    }
    options
}

fn of_one(report: &mut Report, value: &Value) -> Rates {
    let mut rates = Rates::default();
    let wrong_type = "Expected the rate limits of users, accounts or addresses to be a map/struct";
    let Some(map) = report.map(wrong_type, value) else {
        return rates;
    };
    for (key, value) in map.iter() {
        let name = String::from_utf8_lossy(key).to_lowercase();
        let rate = match name.as_str() {
            "messages" => &mut rates.messages,
            "bytes" => &mut rates.bytes,
            "subscriptions" => &mut rates.subscriptions,
            "connections" => &mut rates.connections,
            _ => {
                report.unknown_field_in(("Unknown field ", " parsing rate_limits"), key, value);
                continue;
            }
        };
        let number = value
            .integer()
            .and_then(|number| match u64::try_from(number) {
                Ok(number) if number > 0 => Ok(number),
                _ => Err(ProblemKind::NotPositive(name)),
            });
        *rate = report.keep(value, number);
    }
    rates
}
