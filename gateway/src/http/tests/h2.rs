//! Clients that send HTTP/2 frames as they like.

use std::time::Duration;

use proxy::error::CloseReason;
use proxy::metrics::HttpStat;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::world::{Client, World};

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const WHOLE: u8 = END_STREAM | END_HEADERS;
const PROTOCOL_ERROR: u32 = 1;
const ENHANCE_YOUR_CALM: u32 = 11;
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const SHORT: Duration = Duration::from_millis(300);
const LONG: Duration = Duration::from_secs(10);

/// A request for `/` at host `a`: `:method GET`, `:scheme http`, `:path /`, `:authority a`.
const GET: &[u8] = &[0x82, 0x86, 0x84, 0x01, 0x01, b'a'];

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut bytes = vec![length[1], length[2], length[3], kind, flags];
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// A literal header that enters no table (RFC 7541 §6.2.2), up to 126 bytes each.
fn literal(name: &str, value: &str) -> Vec<u8> {
    let length = |text: &str| u8::try_from(text.len()).ok().filter(|n| *n < 127).unwrap();
    [&[0, length(name)], name.as_bytes(), &[length(value)], value.as_bytes()].concat()
}

/// A connection that has begun.
async fn connect(world: &World) -> Client {
    let mut client = world.connect();
    client.send([PREFACE, &frame(SETTINGS, 0, 0, &[])].concat()).await;
    client
}

/// What came: kind, flags, stream and payload.
type Frame = (u8, u8, u32, Vec<u8>);

/// The next frame; `None`: the end.
async fn next(client: &mut Client) -> Option<Frame> {
    let mut head = [0; 9];
    timeout(LONG, client.stream.read_exact(&mut head)).await.expect("a frame").ok()?;
    let [a, b, c, kind, flags, s, t, u, v] = head;
    let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
    client.stream.read_exact(&mut payload).await.ok()?;
    Some((kind, flags, u32::from_be_bytes([s, t, u, v]), payload))
}

/// The next frame of this kind, if there is one before the end.
async fn find(client: &mut Client, wanted: u8) -> Option<Frame> {
    loop {
        let frame = next(client).await?;
        if frame.0 == wanted {
            return Some(frame);
        }
    }
}

/// The code of the GOAWAY before the end; `None`: there was none.
async fn goaway(client: &mut Client) -> Option<u32> {
    let mut code = None;
    while let Some((kind, _, _, payload)) = next(client).await {
        if kind == GOAWAY {
            code = Some(u32::from_be_bytes(payload[4..8].try_into().unwrap()));
        }
    }
    code
}

/// Sends until the other end wants no more of it.
async fn flood(client: &mut Client, mut bytes: impl FnMut(u32) -> Vec<u8>, most: u32) {
    for n in 0..most {
        match timeout(SHORT, client.stream.write_all(&bytes(n))).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) | Err(_) => return,
        }
    }
}

/// Another client is served.
async fn serves(world: &World) {
    let mut other = connect(world).await;
    other.send(frame(HEADERS, WHOLE, 1, GET)).await;
    let (_, _, stream, _) = find(&mut other, HEADERS).await.expect("an answer");
    assert_eq!(stream, 1);
}

/// The connection has ended for it, was counted, and others are served.
async fn ends_with(world: &World, mut client: Client, code: u32) {
    assert_eq!(goaway(&mut client).await, Some(code));
    assert_eq!(client.ended().await, CloseReason::DownstreamReset);
    assert_eq!(world.chain.stats.get(HttpStat::DownstreamCxProtocolError), 1);
    serves(world).await;
    assert_eq!(world.chain.stats.gauge(HttpStat::DownstreamRqActive), 0);
}

fn opened_and_reset(n: u32) -> Vec<u8> {
    let stream = 2 * n + 1;
    [frame(HEADERS, WHOLE, stream, GET), frame(RST_STREAM, 0, stream, &8u32.to_be_bytes())].concat()
}

#[tokio::test]
async fn streams_that_are_reset_at_once_end_the_connection() {
    let world = World::new(|_| {});
    let mut client = connect(&world).await;
    let all: Vec<u8> = (0..200).flat_map(opened_and_reset).collect();
    client.send(all).await;
    ends_with(&world, client, ENHANCE_YOUR_CALM).await;
    assert!(world.chain.stats.get(HttpStat::DownstreamRqTotal) < 200);
}

/// Slow enough for each of them to become a request, whose body is awaited.
#[tokio::test]
async fn streams_may_be_reset_so_often() {
    let world = World::with_waiting_requests(|manager| {
        manager.http2.stream_reset_burst = 5;
        manager.http2.stream_reset_rate = 0;
    });
    let mut client = connect(&world).await;
    let stats = &world.chain.stats;
    for n in 0..6 {
        let stream = 2 * n + 1;
        client.send(frame(HEADERS, END_HEADERS, stream, GET)).await;
        let begun = async {
            while stats.get(HttpStat::DownstreamRqTotal) <= u64::from(n) {
                tokio::task::yield_now().await;
            }
        };
        timeout(LONG, begun).await.unwrap();
        client.send(frame(RST_STREAM, 0, stream, &8u32.to_be_bytes())).await;
    }
    assert_eq!(goaway(&mut client).await, None);
    assert_eq!(client.ended().await, CloseReason::DownstreamReset);
    assert!(stats.get(HttpStat::DownstreamCxProtocolError) > 0);
}

#[tokio::test]
async fn a_header_block_has_so_many_frames() {
    let world = World::new(|_| {});
    let mut client = connect(&world).await;
    client.send(frame(HEADERS, END_STREAM, 1, GET)).await;
    flood(&mut client, |_| frame(CONTINUATION, 0, 1, &[]), 1000).await;
    ends_with(&world, client, ENHANCE_YOUR_CALM).await;
    assert_eq!(world.chain.stats.get(HttpStat::DownstreamRqTotal), 1);
}

#[tokio::test]
async fn empty_data_frames_end_the_connection() {
    let world = World::with_waiting_requests(|_| {});
    let mut client = connect(&world).await;
    client.send(frame(HEADERS, END_HEADERS, 1, GET)).await;
    flood(&mut client, |_| frame(DATA, 0, 1, &[]), 1000).await;
    assert_eq!(goaway(&mut client).await, Some(ENHANCE_YOUR_CALM));
    assert_eq!(client.ended().await, CloseReason::DownstreamReset);
    // The request whose body it was counts, too.
    assert!(world.chain.stats.get(HttpStat::DownstreamCxProtocolError) > 0);
}

/// Whoever reads no answers to its PINGs and SETTINGS is not read either: what waits to be sent stays small.
#[tokio::test]
async fn what_asks_for_answers_is_not_read_ahead_of_them() {
    for asks in [frame(PING, 0, 0, &[7; 8]), frame(SETTINGS, 0, 0, &[])] {
        let world = World::new(|manager| manager.common.idle_timeout = Some(SHORT));
        let mut client = connect(&world).await;
        let mut sent = 0;
        let some = asks.repeat(64);
        flood(
            &mut client,
            |n| {
                sent = n;
                some.clone()
            },
            100_000,
        )
        .await;
        let bytes = sent as usize * some.len();
        assert!(bytes < 4 << 20, "{bytes} bytes were taken");
        // Silence, from then on.
        let served = client.served().await;
        assert_eq!(served, CloseReason::IdleTimeout);
        serves(&world).await;
    }
}

#[tokio::test]
async fn a_header_block_comes_to_its_end_in_time() {
    let started = [
        frame(HEADERS, END_STREAM, 1, GET),
        frame(HEADERS, WHOLE, 1, &[GET, &[0; 20]].concat())[..12].to_vec(),
        [frame(HEADERS, WHOLE, 1, GET), frame(HEADERS, END_STREAM, 3, GET)].concat(),
    ];
    for started in started {
        let world = World::new(|manager| manager.request_headers_timeout = Some(SHORT));
        let mut client = connect(&world).await;
        client.send(&started).await;
        goaway(&mut client).await;
        assert_eq!(client.ended().await, CloseReason::IdleTimeout, "{started:?}");
        assert_eq!(world.chain.stats.get(HttpStat::DownstreamRqHeaderTimeout), 1);
    }
    // One that ends in time, however it is cut, ends nothing.
    let world = World::new(|manager| manager.request_headers_timeout = Some(SHORT));
    let mut client = connect(&world).await;
    client
        .send([frame(HEADERS, END_STREAM, 1, &GET[..2]), frame(CONTINUATION, END_HEADERS, 1, &GET[2..])].concat())
        .await;
    assert!(find(&mut client, HEADERS).await.is_some());
    tokio::time::sleep(SHORT * 2).await;
    client.send(frame(HEADERS, WHOLE, 3, GET)).await;
    assert!(find(&mut client, HEADERS).await.is_some());
}

#[tokio::test]
async fn half_a_preface_is_not_waited_for() {
    let world = World::new(|manager| manager.request_headers_timeout = Some(SHORT));
    let mut client = world.connect();
    client.send(&PREFACE[..10]).await;
    assert_eq!(client.rest().await, "");
    assert_eq!(client.ended().await, CloseReason::IdleTimeout);
}

/// The stream is reset and the connection goes on with the next; a name in upper case ends the connection.
#[tokio::test]
async fn what_is_no_request_ends_its_stream() {
    let pseudo = |name, value| [GET.to_vec(), literal(name, value)].concat();
    let rows = [
        ("connection", pseudo("connection", "close")),
        ("te", pseudo("te", "gzip")),
        ("upper case", pseudo("X-Upper", "1")),
        ("transfer-encoding", pseudo("transfer-encoding", "chunked")),
        ("pseudo after regular", [&literal("x", "1"), GET].concat()),
        ("twice", pseudo(":path", "/other")),
        ("of an answer", pseudo(":status", "200")),
        ("without a path", vec![0x82, 0x86, 0x01, 0x01, b'a']),
    ];
    for (what, block) in rows {
        let world = World::new(|_| {});
        let mut client = connect(&world).await;
        client.send(frame(HEADERS, WHOLE, 1, &block)).await;
        let Some(refused) = find(&mut client, RST_STREAM).await else {
            assert_eq!(what, "upper case");
            client.ended().await;
            assert_eq!(world.chain.stats.get(HttpStat::DownstreamCxProtocolError), 1);
            continue;
        };
        assert_eq!((refused.2, &*refused.3), (1, &PROTOCOL_ERROR.to_be_bytes()[..]), "{what}");
        client.send(frame(HEADERS, WHOLE, 3, GET)).await;
        assert_eq!(find(&mut client, HEADERS).await.expect(what).2, 3, "{what}");
        assert_eq!(world.chain.stats.get(HttpStat::DownstreamRqTotal), 1, "{what}");
    }
}

#[tokio::test]
async fn bad_streams_are_counted() {
    let world = World::new(|_| {});
    let mut client = connect(&world).await;
    let bad = [GET, &literal("connection", "close")].concat();
    flood(&mut client, |n| frame(HEADERS, WHOLE, 2 * n + 1, &bad), 1000).await;
    ends_with(&world, client, ENHANCE_YOUR_CALM).await;
}

#[tokio::test]
async fn too_many_headers_get_an_answer_and_no_memory() {
    let world = World::new(|manager| manager.max_request_headers_kb = 4);
    let mut client = connect(&world).await;
    let many: Vec<u8> = (0..60).flat_map(|_| literal("x-many", &"a".repeat(100))).collect();
    client.send(frame(HEADERS, WHOLE, 1, &[GET, &many].concat())).await;
    let answer = find(&mut client, HEADERS).await.expect("an answer");
    // `:status 431`, its name from the static table.
    assert_eq!((answer.2, answer.3.first().map(|byte| byte & 0x0f)), (1, Some(8)));
    assert_eq!(world.chain.stats.get(HttpStat::DownstreamRqTotal), 0);
    client.send(frame(HEADERS, WHOLE, 3, GET)).await;
    assert!(find(&mut client, HEADERS).await.is_some_and(|answer| answer.2 == 3));
}
