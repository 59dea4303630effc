//! `/subsz`: subscriptions and the figures of their tables (MON-29).

use serde::Serialize;

use super::accounts::{imported_services, of_accounts};
use super::connz::SubDetail;
use super::facts::ServerFacts;
use super::format::{self, Number};
use super::query::{BadRequest, Page, Parameters};
use crate::ids::ConnectionId;
use crate::routing::interest::RoutingStats;
use crate::routing::subject::{is_valid_literal, pattern_matches};
use crate::shard::report::{AccountFigures, Counters, Figures, Query, SubscriptionReport};

#[derive(Serialize)]
pub(super) struct Subsz<'a> {
    server_id: &'a str,
    now: String,
    #[serde(flatten)]
    stats: SublistStats,
    total: usize,
    offset: i64,
    limit: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    subscriptions_list: Option<Vec<SubDetail>>,
}

/// Figures of the subscription tables.
#[derive(Serialize, Default)]
pub(super) struct SublistStats {
    num_subscriptions: u64,
    num_cache: u64,
    num_inserts: u64,
    num_removes: u64,
    num_matches: u64,
    cache_hit_rate: Number,
    max_fanout: u64,
    avg_fanout: Number,
}

impl SublistStats {
    /// Of one account.
    pub(super) fn of_account(figures: &AccountFigures, routing: &RoutingStats) -> Self {
        Self::of(&Counters {
            subscriptions: figures.subscriptions,
            inserts: routing.inserts,
            removes: routing.removes,
            matches: routing.matches,
            cache_hits: routing.cache_hits,
            cache_entries: routing.cache_entries,
            max_fanout: routing.max_fanout,
            total_fanout: routing.total_fanout,
            ..Counters::default()
        })
    }

    /// Of all shards together.
    pub(super) fn of(counters: &Counters) -> Self {
        let ratio = |part: u64, whole: u64| {
            Number(if whole == 0 {
                0.0
            } else {
                part as f64 / whole as f64
            })
        };
        Self {
            num_subscriptions: counters.subscriptions,
            num_cache: counters.cache_entries,
            num_inserts: counters.inserts,
            num_removes: counters.removes,
            num_matches: counters.matches,
            cache_hit_rate: ratio(counters.cache_hits, counters.matches),
            max_fanout: counters.max_fanout,
            avg_fanout: ratio(counters.total_fanout, counters.cache_entries),
        }
    }
}

/// Answers a request.
pub(super) fn subsz<'a>(
    facts: &'a ServerFacts,
    figures: &dyn Figures,
    parameters: &Parameters,
) -> Result<Subsz<'a>, BadRequest> {
    let listed = parameters.bool("subs")?;
    let page = Page::of(parameters)?;
    let (test, account) = (parameters.text("test"), parameters.text("acc"));
    if !test.is_empty() && !is_valid_literal(test.as_bytes()) {
        let text = format!("invalid test subject, must be valid publish subject: {test}");
        return Err(BadRequest(text));
    }
    let reports = if listed {
        figures.ask(Query::Subscriptions)
    } else {
        figures.ask(Query::Counters)
    };
    // Of one account, with those that the server has for it.
    let services = imported_services(facts, account);
    let services: Vec<SubscriptionReport> = (1..)
        .zip(services)
        .map(|(sid, subject)| SubscriptionReport {
            account: account.into(),
            subject: subject.into(),
            queue: None,
            sid: sid.to_string().into(),
            msgs: 0,
            max: 0,
            cid: ConnectionId(0),
        })
        .collect();
    let stats = if account.is_empty() {
        SublistStats::of(&Counters::sum(
            reports.iter().map(|report| &report.counters),
        ))
    } else {
        let mut of = of_accounts(figures).remove(account).unwrap_or_default();
        of.figures.subscriptions += services.len() as u64;
        of.routing.inserts += services.len() as u64;
        SublistStats::of_account(&of.figures, &of.routing)
    };
    let (list, total) = if listed {
        let mut all: Vec<SubscriptionReport> = reports
            .into_iter()
            .flat_map(|report| report.subscriptions)
            .chain(services)
            .filter(|it| account.is_empty() || *it.account == *account)
            .filter(|it| test.is_empty() || pattern_matches(it.subject.as_bytes(), test.as_bytes()))
            .collect();
        // In an order that stays the same from page to page.
        all.sort_by(|a, b| a.cid.cmp(&b.cid).then_with(|| a.sid.cmp(&b.sid)));
        let total = all.len();
        let cut = page
            .cut(all)
            .into_iter()
            .map(|it| SubDetail::of(it, true))
            .collect();
        (Some(cut), total)
    } else {
        (None, 0)
    };
    Ok(Subsz {
        server_id: &facts.info.server_id,
        now: format::time(format::now()),
        stats,
        total,
        offset: page.offset,
        limit: page.limit,
        subscriptions_list: list.filter(|list: &Vec<SubDetail>| !list.is_empty()),
    })
}
