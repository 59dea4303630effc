//! What shards ask of each other about streams. Rare, so by control message; what clients publish
//! and acknowledge never comes this way.

use crate::ids::AccountId;
use crate::ids::ShardId;
use crate::jetstream::api::errors::ApiError;
use crate::jetstream::api::response::StreamInfo;
use crate::jetstream::api::subjects::Endpoint;
use crate::jetstream::offline::Offline;
use crate::jetstream::stream::config::StreamConfig;
use crate::time::WallTime;

use super::disk::OpenedStore;
use super::send::Answer;

/// A request to the API on its way to who answers it.
#[derive(Debug, Clone)]
pub struct Request {
    /// Account it is in.
    pub account: AccountId,
    /// Where it was published: its answer leaves there, as the requester's interest in it came there
    /// before the request, and may not be anywhere else yet.
    pub home: ShardId,
    /// Its subject.
    pub subject: Box<[u8]>,
    /// Where its answer is awaited.
    pub reply: Option<Box<[u8]>>,
    /// Its header block, or nothing.
    pub header: Box<[u8]>,
    /// Its body.
    pub body: Box<[u8]>,
    /// Who asked, where somebody wants to hear of all requests (JS-242).
    pub client: Option<Box<serde_json::Value>>,
}

/// One shard asks another.
#[derive(Debug)]
pub enum Command {
    /// To shard 0: a client's request.
    Ask(Request),
    /// To the owner: make this stream, and answer.
    Create {
        /// What to answer.
        request: Request,
        /// The stream.
        config: Box<StreamConfig>,
        /// When that was decided.
        created: WallTime,
    },
    /// To the owner: the store it asked for.
    Opened {
        /// Account of the stream.
        account: AccountId,
        /// Its name.
        name: Box<str>,
        /// The store, or why there is none.
        opened: Box<Result<OpenedStore, String>>,
    },
    /// To shard 0: there will be no such stream.
    NotCreated(AccountId, Box<str>),
    /// To shard 0, at the start: this stream is there.
    Known {
        /// Its account.
        account: AccountId,
        /// Who has it.
        owner: ShardId,
        /// Its configuration.
        config: Box<StreamConfig>,
        /// It has no owner, and why.
        offline: Option<Box<Offline>>,
    },
    /// To the owner, at the start: have this stream.
    Recover {
        /// Its account.
        account: AccountId,
        /// Its configuration.
        config: Box<StreamConfig>,
        /// When it was made.
        created: WallTime,
        /// Its store.
        opened: Box<OpenedStore>,
    },
    /// To the owner: make this stream of a copy that comes, and answer.
    Restore {
        /// What to answer.
        request: Request,
        /// The stream.
        config: Box<StreamConfig>,
        /// When that was decided.
        created: WallTime,
        /// What is told at the end, whatever comes.
        refused: Option<ApiError>,
    },
    /// To where a request was published, behind the answer: send this back to that shard.
    Return(ShardId, Box<Command>),
    /// To the owner: a copy of a stream may be sent, its number says which.
    BeginSnapshot(u32, u32),
    /// To shard 0: the stream is made of its copy.
    Restored(AccountId, Box<str>),
    /// To the owner: this is the stream's configuration now; answer.
    Update {
        /// What to answer.
        request: Request,
        /// The configuration.
        config: Box<StreamConfig>,
    },
    /// To shard 0: the stream's consumers do not allow it; this is its configuration still.
    NotUpdated(AccountId, Box<StreamConfig>),
    /// To the owner: drop this stream, and answer.
    Delete {
        /// What to answer.
        request: Request,
        /// The stream.
        name: Box<str>,
    },
    /// To the owner: a request about one of its streams or consumers.
    Request(Request),
    /// To all: tell of these streams.
    List {
        /// Which question it is.
        gather: u64,
        /// Account of the streams.
        account: AccountId,
        /// Their names; each shard tells of those it has.
        names: std::sync::Arc<[Box<str>]>,
    },
    /// To shard 0: the answer.
    Listed {
        /// To which question.
        gather: u64,
        /// Streams.
        streams: Vec<StreamInfo>,
        /// How many consumers of mirrors and sources each of them has.
        direct: Vec<u64>,
    },
    /// To where a request was published: send this answer.
    Answer {
        /// Account it goes to.
        account: AccountId,
        /// Subject.
        to: Box<[u8]>,
        /// What is answered.
        answer: Answer,
    },
    /// To where a request was published: tell of this answer.
    Audit(Box<Request>, Box<[u8]>),
    /// To all others: this shard has push consumers now, or none any more.
    Pushing {
        /// Which shard.
        shard: ShardId,
        /// Has it any?
        any: bool,
    },
    /// To shard 0: this shard is ready for clients (see [`Command::Recover`]).
    Ready,
    /// To shard 0: a request to this endpoint was answered with an error.
    Failed(AccountId, Endpoint),
}
