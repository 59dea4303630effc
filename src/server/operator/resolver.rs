//! The service that knows where accounts come from: for a resolver that the configuration names, and
//! for another after a reload.

use std::sync::Arc;
use std::time::Instant;

use super::claims::ClaimsService;
use super::fetches::Fetches;
use super::updates::Updates;
use super::vouched::Source;
use super::waiting::Waiting;
use crate::ids::AccountId;
use crate::io::Socket;
use crate::options::{OperatorOptions, ResolverOptions};
use crate::server::reload::Reloader;
use crate::server::system::envelope::Envelope;
use crate::server::system::services::{Outlet, Service};
use crate::shard::control::Post;
use crate::shard::internal::{AccountSought, InternalMessage};

/// A resolver to be put in force.
pub(in crate::server) struct NewResolver {
    /// Where it has its tokens from.
    pub source: Source,
    /// What the options say of it.
    pub options: Arc<OperatorOptions>,
}

/// Whichever resolver is in force.
pub(in crate::server) struct Resolver {
    reloader: Arc<Reloader>,
    envelope: Arc<Envelope>,
    /// The system account, if there is one, and its key.
    system: Option<(AccountId, String)>,
    posts: Vec<Post<Socket>>,
    services: Vec<Box<dyn Service>>,
}

impl Resolver {
    /// Begins with `first`; what comes after it, the reloader has.
    pub fn new(
        first: NewResolver,
        reloader: Arc<Reloader>,
        envelope: Arc<Envelope>,
        system: Option<(AccountId, String)>,
        posts: Vec<Post<Socket>>,
    ) -> Self {
        let mut this = Self {
            reloader,
            envelope,
            system,
            posts,
            services: Vec::new(),
        };
        this.services = this.make(first);
        this
    }

    fn make(&self, new: NewResolver) -> Vec<Box<dyn Service>> {
        let NewResolver { source, options } = new;
        let mut services: Vec<Box<dyn Service>> = Vec::new();
        let (reloader, envelope) = (&self.reloader, &self.envelope);
        let posts = || self.posts.clone();
        let updates = |system| Updates::new(Arc::clone(reloader), Arc::clone(envelope), system);
        match (source, &options.resolver, &self.system) {
            (
                Source::Directory(directory),
                Some(ResolverOptions::Full(at) | ResolverOptions::Cache(at)),
                Some((system, key)),
            ) => services.push(Box::new(ClaimsService::new(
                directory,
                (&options, at),
                (*system, key),
                Arc::clone(reloader),
                Arc::clone(envelope),
                Waiting::new(posts()),
            ))),
            (Source::Server(server), _, system) => {
                services.push(Box::new(Fetches::new(
                    server,
                    Arc::clone(reloader),
                    posts(),
                )));
                services.extend(system.iter().map(|it| Box::new(updates(it.0)) as _));
            }
            (_, _, system) => {
                services.extend(system.iter().map(|it| Box::new(updates(it.0)) as _));
            }
        }
        services
    }

    /// Puts the resolver in force that a reload has brought.
    fn renew(&mut self, outlet: &Outlet) {
        let Some(new) = self.reloader.new_resolver() else {
            return;
        };
        for service in &mut self.services {
            service.stop(outlet);
        }
        self.services = self.make(new);
        self.start(outlet);
    }
}

impl Service for Resolver {
    fn start(&mut self, outlet: &Outlet) {
        for service in &mut self.services {
            service.start(outlet);
        }
    }

    fn message(&mut self, message: &InternalMessage, outlet: &Outlet) {
        self.renew(outlet);
        for service in &mut self.services {
            service.message(message, outlet);
        }
    }

    fn seek(&mut self, sought: &AccountSought, outlet: &Outlet) {
        self.renew(outlet);
        for service in &mut self.services {
            service.seek(sought, outlet);
        }
    }

    fn tick(&mut self, now: Instant, outlet: &Outlet) {
        self.renew(outlet);
        for service in &mut self.services {
            service.tick(now, outlet);
        }
    }
}
