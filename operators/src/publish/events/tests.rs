//! What clients get who come early, late, again, or not often enough.

use futures_util::StreamExt;
use http::HeaderMap;
use proptest::prelude::*;

use super::*;

const START: u64 = 1_000;

const KEPT: Kept = Kept {
    events: 4,
    bytes: 1 << 20,
};

fn events(kept: Kept) -> Arc<Events> {
    Arc::new(Events::new(kept, START, About::default()))
}

fn push(events: &Events, numbers: std::ops::Range<u64>) {
    let texts: Vec<String> = numbers.map(|number| format!("event: n\ndata: {number}\n\n")).collect();
    events.push(texts.iter().map(|text| text.as_bytes()));
}

fn get(events: &Arc<Events>, last: Option<&str>, query: Option<&str>) -> Response<Body> {
    let mut headers = HeaderMap::new();
    if let Some(last) = last {
        headers.insert("last-event-id", last.parse().unwrap());
    }
    let request = Request {
        rest: String::new(),
        query: query.map(str::to_owned),
        headers,
    };
    wait(EventStream(events.clone()).get(request))
}

fn wait<F: Future>(future: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    runtime.block_on(future)
}

/// All that a client gets of a stream that has ended: (number, event, data).
fn all(response: Response<Body>) -> Vec<(u64, String, String)> {
    let Body::Pieces(pieces) = response.into_body() else {
        panic!("no stream")
    };
    let pieces: Vec<Bytes> = wait(pieces.collect());
    parsed(&pieces.concat())
}

fn parsed(bytes: &[u8]) -> Vec<(u64, String, String)> {
    let text = std::str::from_utf8(bytes).unwrap();
    let events = text.split("\n\n").filter(|event| event.starts_with("id: "));
    events
        .map(|event| {
            let mut lines = event.lines().map(|line| line.split_once(": ").unwrap().1.to_owned());
            let mut next = || lines.next().unwrap();
            (next().parse().unwrap(), next(), next())
        })
        .collect()
}

fn numbers(range: std::ops::Range<u64>) -> Vec<(u64, String, String)> {
    range
        .map(|number| (START + number, "n".into(), number.to_string()))
        .collect()
}

#[test]
fn who_comes_back_goes_on_behind_the_last_event() {
    let events = events(KEPT);
    push(&events, 0..4);
    let first = get(&events, Some("1001"), None);
    let newest = get(&events, None, None);
    let two = get(&events, None, Some("a=b&recent=2"));
    let asked = get(&events, None, Some("last-event-id=1002"));
    let nonsense = get(&events, Some("no number"), None);
    events.end();
    assert_eq!(all(first), numbers(2..4));
    assert_eq!(all(newest), []);
    assert_eq!(all(two), numbers(2..4));
    assert_eq!(all(asked), numbers(3..4));
    assert_eq!(all(nonsense), []);
    // A browser asks again and again until it gets this.
    assert_eq!(get(&events, Some("1003"), None).status(), StatusCode::NO_CONTENT);
    assert_eq!(all(get(&events, Some("1002"), None)), numbers(3..4));
}

#[test]
fn what_is_lost_is_counted() {
    let events = events(KEPT);
    push(&events, 0..10);
    let known = get(&events, Some("1002"), None);
    // Behind all, and before the run: whose losses nobody knows.
    let foreign = [get(&events, Some("5"), None), get(&events, Some("99999"), None)];
    events.end();
    let mut expected = vec![(START + 5, "lost".to_owned(), "{\"count\":3}".to_owned())];
    expected.extend(numbers(6..10));
    assert_eq!(all(known), expected);
    expected[0].2 = "{\"count\":null}".into();
    for response in foreign {
        assert_eq!(all(response), expected);
    }
    // Cut off right behind the news of a loss, it goes on where it would have.
    assert_eq!(all(get(&events, Some("1005"), None)), numbers(6..10));
}

#[test]
fn a_client_that_does_not_read_costs_nothing_and_others_nothing_either() {
    let events = events(Kept {
        events: 1_000_000,
        bytes: 10_000,
    });
    let Body::Pieces(mut idle) = get(&events, None, None).into_body() else {
        panic!("no stream")
    };
    let Body::Pieces(mut quick) = get(&events, None, None).into_body() else {
        panic!("no stream")
    };
    assert_eq!(wait(idle.next()).unwrap(), GREETING);
    assert_eq!(wait(quick.next()).unwrap(), GREETING);
    for number in 0..5_000 {
        push(&events, number..number + 1);
        assert_eq!(parsed(&wait(quick.next()).unwrap()), numbers(number..number + 1));
        assert!(events.ring().bytes <= 10_000);
    }
    let late = parsed(&wait(idle.next()).unwrap());
    let lost = 5_000 - (late.len() as u64 - 1);
    assert_eq!(late[0].2, format!("{{\"count\":{lost}}}"));
    assert_eq!(late[1..], numbers(lost..5_000));
}

#[test]
fn an_event_larger_than_all_that_is_kept_is_kept_alone() {
    let events = events(Kept { events: 9, bytes: 64 });
    push(&events, 0..3);
    events.push([format!("event: n\ndata: {}\n\n", "x".repeat(200)).as_bytes()]);
    assert_eq!(events.ring().events.len(), 1);
    push(&events, 4..5);
    let ring = events.ring();
    assert_eq!((ring.events.len(), ring.oldest()), (1, START + 4));
}

#[test]
fn there_is_nothing_below_a_stream() {
    let request = Request {
        rest: "more".into(),
        query: None,
        headers: HeaderMap::new(),
    };
    let response = wait(EventStream(events(KEPT)).get(request));
    assert_eq!(response.status(), StatusCode::NOT_FOUND);
}

proptest! {
    /// However pushing and reading interleave: each number once and in order, or counted as lost.
    #[test]
    fn nothing_is_doubled_or_lost_unsaid(
        kept in 1usize..6, bytes in 40usize..400, steps in prop::collection::vec((0u64..9, any::<bool>()), 1..40)
    ) {
        let events = events(Kept { events: kept, bytes });
        let mut position = events.position(None, None);
        let (mut pushed, mut expected) = (0, START);
        let mut take = |events: &Events| {
            for (number, event, data) in parsed(&events.read(&mut position).0) {
                if event == "lost" {
                    let count: u64 = data.trim_matches(|c: char| !c.is_ascii_digit()).parse().unwrap();
                    assert!(count > 0);
                    expected += count;
                    assert_eq!(number + 1, expected);
                } else {
                    assert_eq!((number, data), (expected, (expected - START).to_string()));
                    expected += 1;
                }
            }
            expected
        };
        for (more, read) in steps {
            push(&events, pushed..pushed + more);
            pushed += more;
            if read {
                take(&events);
            }
        }
        prop_assert_eq!(take(&events), START + pushed);
    }
}
