use std::net::Ipv4Addr;
use std::time::Duration;

use http::Uri;
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;

use super::*;
use crate::net::dial;
use crate::net::fixtures::{HandClock, NOW, TestCa};

async fn demo() -> (Demo, SendRequest<Full<Bytes>>) {
    let ca = TestCa::new("server CA");
    let leaf = ca.server();
    let serving = Serving::new(leaf.chain.clone(), leaf.key()).unwrap();
    let listener = listen::bind((Ipv4Addr::LOCALHOST, 0).into()).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let demo = Demo::start(listener, &serving, Secret::new("token".to_owned()), HandClock::at(NOW)).unwrap();
    let config = tls::client_config(&[ca.der], None).unwrap();
    let stream = dial::connect("127.0.0.1", port, config, "localhost", Duration::from_secs(5)).await.unwrap();
    let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    (demo, sender)
}

fn request(method: Method, path: &str, token: &str) -> Request<Full<Bytes>> {
    let request = Request::builder().method(method).uri(path.parse::<Uri>().unwrap());
    let request = request.header("host", "demo").header("authorization", format!("Bearer {token}"));
    request.header("impersonate-user", "alice").body(Full::default()).unwrap()
}

async fn body(response: Response<Incoming>) -> Value {
    serde_json::from_slice(&response.into_body().collect().await.unwrap().to_bytes()).unwrap()
}

#[tokio::test]
async fn whoever_has_the_token_may_say_for_whom_they_ask() {
    let (_demo, mut sender) = demo().await;
    let review = request(Method::POST, answers::SELF_SUBJECT_REVIEWS, "token");
    let answer = sender.send_request(review).await.unwrap();
    assert_eq!(answer.status(), 201);
    assert_eq!(body(answer).await["status"]["userInfo"]["username"], "alice");
    let refused = sender.send_request(request(Method::GET, "/version", "guess")).await.unwrap();
    assert_eq!(refused.status(), 401);
    assert_eq!(body(refused).await["kind"], "Status");
    let nowhere = sender.send_request(request(Method::GET, "/api/v1/pods", "token")).await.unwrap();
    assert_eq!(nowhere.status(), 404);
}

#[tokio::test]
async fn a_watch_begins_at_once_and_ends_when_the_server_stops() {
    let (demo, mut sender) = demo().await;
    let mut watch = sender.send_request(request(Method::GET, "/watch", "token")).await.unwrap().into_body();
    let first = watch.frame().await.unwrap().unwrap().into_data().unwrap();
    let event: Value = serde_json::from_slice(&first).unwrap();
    assert_eq!((&event["type"], &event["object"]["n"]), (&Value::from("ADDED"), &Value::from(1)));
    assert_eq!(first.last(), Some(&b'\n'));
    demo.stop().await;
    while let Some(frame) = watch.frame().await {
        frame.unwrap();
    }
}
