//! gRPC by its own library on both sides: unary and both ways at once, and the trailers that carry
//! a status. The application speaks HTTP/2 without TLS.

use std::io::BufRead as _;
use std::process::Stdio;

use botguard_tests::lab::EDGE_V4;

use crate::python::{interpreter, program};
use crate::scene::{Scene, succeed};

const SECOND_LISTENER: &str = r#"
[[listener]]
bind = "192.0.2.1:9443"
upstream = "grpc"
certificate = [{ cert = "fullchain.pem", key = "privkey.pem" }]

[upstream.grpc]
endpoints = ["h2c://127.0.0.1:3001"]
"#;

#[test]
fn grpc_calls_come_back_with_their_trailers() {
    let scene = Scene::set_up("grpc", SECOND_LISTENER);
    let mut server = scene.host.lab.edge.command("setpriv");
    server
        .args(["--pdeathsig", "KILL", "--", &interpreter()])
        .args(["-c", SERVER])
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    let mut server = server.spawn().unwrap();
    let mut line = String::new();
    let mut output = std::io::BufReader::new(server.stdout.take().unwrap());
    output.read_line(&mut line).unwrap();
    assert_eq!(line, "serving\n");
    let chain = scene.host.certificate.chain.to_str().unwrap();
    let address = format!("{EDGE_V4}:9443");
    let said = succeed(&mut program(&scene, CLIENT, &[&address, chain]));
    server.kill().unwrap();
    server.wait().unwrap();
    let expected = "HELLO kept\nONE TWO THREE 100\nNOT_FOUND nobody called that\n";
    assert_eq!(said, expected);
}

const SERVER: &str = r#"
import grpc
from concurrent.futures import ThreadPoolExecutor

def say(request, context):
    if request == b"missing":
        context.abort(grpc.StatusCode.NOT_FOUND, "nobody called that")
    context.set_trailing_metadata([("told", "kept")])
    return request.upper()

def talk(requests, context):
    for request in requests:
        yield request.upper()

handler = grpc.method_handlers_generic_handler("test.Echo", {
    "Say": grpc.unary_unary_rpc_method_handler(say),
    "Talk": grpc.stream_stream_rpc_method_handler(talk),
})
server = grpc.server(ThreadPoolExecutor(4))
server.add_generic_rpc_handlers([handler])
assert server.add_insecure_port("127.0.0.1:3001") == 3001
server.start()
print("serving", flush=True)
server.wait_for_termination()
"#;

/// Of both ways: each word is only sent when the one before has come back.
const CLIENT: &str = r#"
import grpc, queue, sys

address, chain = sys.argv[1:]
trust = grpc.ssl_channel_credentials(open(chain, "rb").read())
options = [("grpc.ssl_target_name_override", "app.example.com")]
with grpc.secure_channel(address, trust, options) as channel:
    say = channel.unary_unary("/test.Echo/Say")
    answer, call = say.with_call(b"hello", timeout=30)
    trailers = {key: value for key, value in call.trailing_metadata()}
    print(answer.decode(), trailers.get("told"))

    words = queue.SimpleQueue()
    answers = channel.stream_stream("/test.Echo/Talk")(iter(words.get, None), timeout=30)
    heard = []
    for word in (b"one", b"two", b"three"):
        words.put(word)
        heard.append(next(answers).decode())
    for _ in range(100):
        words.put(b"x" * 1000)
    words.put(None)
    rest = sum(1 for _ in answers)
    print(*heard, rest)

    try:
        say(b"missing", timeout=30)
    except grpc.RpcError as error:
        print(error.code().name, error.details())
"#;
