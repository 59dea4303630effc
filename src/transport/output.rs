//! What leaves through a transport: frames, chunks of a compressed link, TLS records.

use super::transport::{Codec, Stage, Transport};
use crate::delivery::outbound::{Chunk, ChunkPool, Outbound};

impl Transport {
    /// Leaves before all other output, sealed where there is TLS.
    pub fn say(&mut self, bytes: &[u8]) {
        self.frames.extend_from_slice(bytes);
    }

    /// Has it output of its own?
    pub fn has_output(&self) -> bool {
        !self.wire.is_empty() || !self.frames.is_empty() || self.ending.is_some()
    }

    /// The connection closes with this WebSocket status: after all other output the peer is told
    /// so, as far as it can be.
    pub fn end(&mut self, status: u16, text: &'static str) {
        let tls = self.tls.as_ref().is_some_and(|it| !it.is_handshaking());
        if tls || self.websocket.is_some() {
            self.ending = Some((status, text));
        }
    }

    /// Nothing but what is ready to leave will be sent any more.
    pub fn discard(&mut self) {
        self.ending = None;
    }

    /// What to send now, if anything and nothing is under way.
    pub fn start_send(
        &mut self,
        outbound: &mut Outbound,
        pool: &mut ChunkPool,
        codec: &mut Codec,
    ) -> Option<Box<Chunk>> {
        if outbound.sending() {
            return None;
        }
        let mut wire = pool.take();
        wire.bytes.append(&mut self.wire);
        let may_send = self.stage == Stage::Open || self.clear;
        let mut chunk = if may_send {
            outbound.start_send()
        } else {
            None
        };
        let ending = if outbound.waits() {
            None
        } else {
            self.ending.take()
        };
        if self.s2.is_some() {
            let mut framed = std::mem::take(&mut codec.framed);
            framed.clear();
            self.frame(chunk.as_deref_mut(), ending, codec, &mut framed);
            if let Some(s2) = &mut self.s2 {
                s2.pack(&mut framed, &mut codec.s2);
            }
            match self.tls().is_some() {
                true => self.seal(Some(&framed), ending.is_some(), codec, &mut wire),
                false => wire.append(&mut framed),
            }
            codec.framed = framed;
        } else if self.tls().is_none() {
            self.frame(chunk.as_deref_mut(), ending, codec, &mut wire);
        } else if self.websocket.is_none() && self.frames.is_empty() {
            self.seal(chunk.as_deref(), ending.is_some(), codec, &mut wire);
        } else {
            let mut framed = std::mem::take(&mut codec.framed);
            framed.clear();
            self.frame(chunk.as_deref_mut(), ending, codec, &mut framed);
            self.seal(Some(&framed), ending.is_some(), codec, &mut wire);
            codec.framed = framed;
        }
        if let Some(chunk) = chunk {
            pool.put(chunk);
        }
        outbound.begin(wire.len());
        if wire.is_empty() {
            pool.put(wire);
            return None;
        }
        Some(wire)
    }

    /// Appends what leaves now to `out`, in frames where there are any.
    pub(super) fn frame(
        &mut self,
        chunk: Option<&mut Chunk>,
        ending: Option<(u16, &'static str)>,
        codec: &mut Codec,
        out: &mut Chunk,
    ) {
        out.bytes.append(&mut self.frames);
        let Codec {
            deflate, gather, ..
        } = codec;
        match (&mut self.websocket, chunk) {
            (Some(websocket), Some(chunk)) => websocket.wrap(chunk, deflate, gather, out),
            (None, Some(chunk)) => out.append(chunk),
            (_, None) => {}
        }
        if let (Some(websocket), Some((status, text))) = (&mut self.websocket, ending) {
            websocket.close(status, text, &mut out.bytes);
        }
    }

    /// Seals `chunk` into `wire`, and says that it was the last if it is.
    pub(super) fn seal(
        &mut self,
        chunk: Option<&Chunk>,
        last: bool,
        codec: &mut Codec,
        wire: &mut Chunk,
    ) {
        let Some(tls) = &mut self.tls else { return };
        if let Some(chunk) = chunk.filter(|it| !it.is_empty())
            && tls.seal(chunk, &mut codec.gather, &mut wire.bytes).is_err()
        {
            self.broken = true;
        }
        if last {
            tls.close(&mut wire.bytes);
        }
    }
}
