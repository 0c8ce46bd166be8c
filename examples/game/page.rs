//! The page, served by the same process on the same port.

use heartring::Bytes;
use heartring::websocket::Request;

const PAGE: &str = include_str!("page.html");

/// The answer to a request that is not for a WebSocket.
pub(crate) fn answer(request: &Request<'_>) -> Bytes {
    let path = request.path.split('?').next();
    match (request.method, path) {
        ("GET", Some("/")) => http("200 OK", "Content-Type: text/html; charset=utf-8", PAGE),
        ("GET", Some("/play")) => {
            http("426 Upgrade Required", "Sec-WebSocket-Version: 13", "Only a WebSocket can play.\n")
        }
        ("GET", _) => http("404 Not Found", "Content-Type: text/plain", "There is only / here.\n"),
        _ => http("405 Method Not Allowed", "Allow: GET", "Only GET works here.\n"),
    }
}

fn http(status: &str, header: &str, body: &str) -> Bytes {
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status}\r\n{header}\r\nContent-Length: {length}\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n"
    );
    (head + body).into()
}
