//! A link to another server that is compressed: within TLS, around a WebSocket, as in stock.

use super::s2::level::Level;
use super::s2::session::S2Session;
use super::transport::{Codec, Context, Progress, Transport, TransportError};
use crate::delivery::outbound::Chunk;

impl Transport {
    /// From here on all but `last`, which leaves first, is compressed, both ways.
    pub fn compress(&mut self, level: Level, last: &[u8], codec: &mut Codec) {
        if !last.is_empty() {
            let mut chunk = Chunk::default();
            chunk.bytes.extend_from_slice(last);
            let mut framed = Chunk::default();
            self.frame(Some(&mut chunk), None, codec, &mut framed);
            let mut wire = Chunk::default();
            match self.tls().is_some() {
                true => self.seal(Some(&framed), false, codec, &mut wire),
                false => wire.append(&mut framed),
            }
            for piece in wire.slices() {
                self.wire.extend_from_slice(piece);
            }
        }
        self.s2 = Some(Box::new(S2Session::new(level)));
    }

    /// How hard what leaves is compressed, if it is.
    pub fn compression(&self) -> Option<Level> {
        self.s2.as_ref().map(|it| it.writer.level())
    }

    /// Compresses so hard from now on.
    pub fn set_compression(&mut self, level: Level) {
        if let Some(s2) = &mut self.s2 {
            s2.writer.set_level(level);
        }
    }

    /// Does the WebSocket compress messages, so that nothing else need?
    pub fn compresses_messages(&self) -> bool {
        self.websocket.as_ref().is_some_and(|it| it.compresses())
    }

    /// Takes bytes that came in one piece with what ended the time without compression.
    pub fn push_compressed(&mut self, bytes: &[u8]) {
        if let Some(s2) = &mut self.s2 {
            s2.reader.push(bytes);
        }
    }

    /// Bytes that wait to be decompressed.
    pub fn waiting(&self) -> usize {
        self.s2.as_ref().map_or(0, |it| it.reader.waiting())
    }

    /// Appends what the next block that has come says, which may have `max` bytes, to `plain`;
    /// false if there is none.
    ///
    /// # Errors
    /// [`TransportError`]: nothing more may be taken.
    pub fn next_block(
        &mut self,
        max: usize,
        context: &mut Context<'_>,
        plain: &mut Vec<u8>,
    ) -> Result<bool, TransportError> {
        let Some(s2) = &mut self.s2 else {
            return Ok(false);
        };
        let Some(websocket) = &mut self.websocket else {
            let outcome = s2.reader.next_block(max, plain);
            return outcome.map_err(|error| self.fail(error));
        };
        let mut block = std::mem::take(&mut context.codec.decrypted);
        block.clear();
        let outcome = match s2.reader.next_block(max, &mut block) {
            Ok(true) => {
                let deflate = &mut context.codec.deflate;
                let taken =
                    websocket.receive(&block, context.bounds, deflate, plain, &mut self.frames);
                taken.map(|()| true).map_err(TransportError::from)
            }
            other => other.map_err(TransportError::from),
        };
        context.codec.decrypted = block;
        outcome.map_err(|error| self.fail(error))
    }

    /// Bytes of a compressed link: TLS is outside of that, a WebSocket inside, as in stock.
    pub(super) fn take_compressed(
        &mut self,
        bytes: &[u8],
        context: &mut Context<'_>,
        progress: &mut Progress,
    ) -> Result<(), TransportError> {
        if self.tls.is_none() {
            self.push_compressed(bytes);
            return Ok(());
        }
        let mut decrypted = std::mem::take(&mut context.codec.decrypted);
        decrypted.clear();
        let outcome = self.decrypt(bytes, &mut decrypted, progress);
        self.push_compressed(&decrypted);
        context.codec.decrypted = decrypted;
        outcome
    }
}
