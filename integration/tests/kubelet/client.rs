//! A client of the CRI: unary gRPC calls over a Unix socket (gRPC over HTTP/2, doc/PROTOCOL-HTTP2.md of grpc/grpc).
//!
//! One connection and one thread; a call blocks until it is answered or [`PATIENCE`] is over.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use bytes::{Buf, Bytes};
use h2::client::SendRequest;
use http::{HeaderMap, Request};
use prost::Message;
use tokio::net::UnixStream;
use tokio::runtime::Runtime;

/// The bound of a call. Only what hangs reaches it: an emulated engine takes seconds for each container.
const PATIENCE: Duration = Duration::from_secs(240);

/// The status of a call whose connection broke.
const UNAVAILABLE: u32 = 14;

/// What the other side answered instead of a message.
#[derive(Debug)]
pub struct Refused {
    /// The number of the status; 5 is "not found" (grpc/grpc, doc/statuscodes.md).
    pub status: u32,
    pub message: String,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "status {}: {}", self.status, self.message)
    }
}

/// A connection to containerd.
pub struct Client {
    runtime: Runtime,
    requests: SendRequest<Bytes>,
}

impl Client {
    /// Connects to a socket; nothing listens there yet when this is `None`.
    pub fn connect(socket: &Path) -> Option<Client> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let requests = runtime.block_on(async {
            let stream = UnixStream::connect(socket).await.ok()?;
            let (requests, connection) = h2::client::handshake(stream).await.ok()?;
            tokio::spawn(async move {
                // When it breaks, the calls say so.
                let _ = connection.await;
            });
            Some(requests)
        })?;
        Some(Client { runtime, requests })
    }

    /// One call, by its path: `RuntimeService/Version`.
    pub fn call<Answer: Message + Default>(
        &self,
        method: &str,
        request: &impl Message,
    ) -> Result<Answer, Refused> {
        let uri = format!("http://localhost/runtime.v1.{method}");
        let request_head = Request::post(uri)
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(())
            .unwrap();
        // A message is preceded by "not compressed" and its length.
        let message = request.encode_to_vec();
        let mut frame = vec![0];
        frame.extend(u32::try_from(message.len()).unwrap().to_be_bytes());
        frame.extend(message);
        let requests = self.requests.clone();
        let answer = self.runtime.block_on(async {
            let exchange = async {
                let mut requests = requests.ready().await?;
                let (response, mut body) = requests.send_request(request_head, false)?;
                body.send_data(frame.into(), true)?;
                let (head, mut body) = response.await?.into_parts();
                let mut data = Vec::new();
                while let Some(part) = body.data().await {
                    let part = part?;
                    body.flow_control().release_capacity(part.len())?;
                    data.extend(part);
                }
                let trailers = body.trailers().await?.unwrap_or(head.headers);
                Ok::<_, h2::Error>((data, trailers))
            };
            tokio::time::timeout(PATIENCE, exchange).await
        });
        let broken = |message| Refused { status: UNAVAILABLE, message };
        let answer = answer.map_err(|_| broken(format!("no answer in {} s", PATIENCE.as_secs())))?;
        let (data, trailers) = answer.map_err(|error| broken(error.to_string()))?;
        if let Some(refused) = status(&trailers) {
            return Err(refused);
        }
        let mut data = Bytes::from(data);
        data.advance(5);
        Ok(Answer::decode(data).unwrap_or_else(|error| panic!("{method}: {error}")))
    }
}

/// The status in the trailers, unless it is 0: all is well.
fn status(trailers: &HeaderMap) -> Option<Refused> {
    let text = |name| trailers.get(name).map_or("", |value| value.to_str().unwrap_or_default());
    let status = text("grpc-status").parse().unwrap_or(2);
    (status != 0).then(|| Refused { status, message: text("grpc-message").to_owned() })
}
