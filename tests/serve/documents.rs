//! What the server says of a run, held to the document that says what it says.

use std::collections::BTreeSet;

use flowrun::serve::{ROUTES, Server};
use serde_json::{Value, json};

use crate::client::{ask, get, until};
use crate::exposition;
use crate::served::{JUNCTION, SECRET, Served, prepared, settings, with_token};

/// Faults of one line, frames of the others.
const DAMAGED: &str =
    "{\"frame\":0,\"box\":[1,2,3,4]}\nno JSON \"at\\all\nstill none\n{\"frame\":1,\"box\":[1,2,3,4]}\n";

/// The junction with a camera that cannot be read in places and one that says nothing at all.
fn troubled() -> Served {
    let camera = "    rows damaged \"rows.jsonl\" type=detection pace=media\n    rows empty \"empty.jsonl\" type=detection pace=media\n";
    let graph = format!(
        "cameras recorded {{\n{camera}}}\nflow other from=recorded {{ track as=tracks; }}\npublish {{ sse \"/events/other\" from=other.tracks; }}\n{JUNCTION}"
    );
    let files = [("rows.jsonl", DAMAGED), ("empty.jsonl", "")];
    let served = Served::beside(&graph, with_token(), &files);
    until("all cameras", || {
        (get(served.address, "/readyz").status == 200).then_some(())
    });
    served
}

fn look(served: &Served, target: &str) -> crate::client::Answer {
    let bearer = format!("Bearer {SECRET}");
    ask(served.address, "GET", target, &[("Authorization", &bearer)])
}

/// A schema of the document, wherever it is.
fn resolved<'d>(document: &'d Value, schema: &'d Value) -> &'d Value {
    match schema["$ref"].as_str() {
        Some(path) => document
            .pointer(path.trim_start_matches('#'))
            .unwrap_or_else(|| panic!("{path} is nowhere")),
        None => schema,
    }
}

/// Exactly the documented keys with values of the documented types, all the way down.
fn conforms(document: &Value, schema: &Value, value: &Value, place: &str) {
    let schema = resolved(document, schema);
    if let Some(choices) = schema["anyOf"].as_array() {
        let null = json!({ "type": "null" });
        match value {
            Value::Null => assert!(choices.contains(&null), "{place} is null"),
            value => {
                let other = choices.iter().find(|choice| **choice != null).unwrap();
                conforms(document, other, value, place);
            }
        }
        return;
    }
    let types: Vec<&str> = match &schema["type"] {
        Value::String(one) => vec![one],
        Value::Array(several) => several.iter().map(|one| one.as_str().unwrap()).collect(),
        other => panic!("{place} has no type but {other}"),
    };
    let actual = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let fits = types.contains(&actual) || actual == "integer" && types.contains(&"number");
    assert!(fits, "{place} is {value}, not {types:?}");
    if let (Some(words), false) = (schema["enum"].as_array(), value.is_null()) {
        assert!(words.contains(value), "{place} is {value}");
    }
    for (index, item) in value.as_array().into_iter().flatten().enumerate() {
        conforms(document, &schema["items"], item, &format!("{place}[{index}]"));
    }
    if let Some(object) = value.as_object() {
        let documented: BTreeSet<_> = schema["properties"].as_object().unwrap().keys().collect();
        assert_eq!(object.keys().collect::<BTreeSet<_>>(), documented, "{place}");
        let required: BTreeSet<_> = schema["required"]
            .as_array()
            .unwrap()
            .iter()
            .map(|key| key.as_str().unwrap())
            .collect();
        assert_eq!(required, documented.iter().map(|key| key.as_str()).collect(), "{place}");
        assert_eq!(schema["additionalProperties"], json!(false), "{place}");
        for (key, value) in object {
            conforms(document, &schema["properties"][key], value, &format!("{place}.{key}"));
        }
    }
}

/// An answer against what the document says of a route and status.
fn documented(document: &Value, method: &str, path: &str, status: &str, value: &Value) {
    let responses = &document["paths"][path][method]["responses"];
    let response = resolved(document, &responses[status]);
    let schema = &response["content"]["application/json"]["schema"];
    assert!(schema.is_object(), "{method} {path} {status} is not documented");
    conforms(document, schema, value, path);
}

#[test]
fn every_route_is_documented_and_answers_as_documented() {
    let served = troubled();
    let document = look(&served, "/openapi.json").json();
    assert_eq!(
        (&document["openapi"], &document["info"]["version"]),
        (&json!("3.1.0"), &json!(env!("CARGO_PKG_VERSION")))
    );
    let mut routes: BTreeSet<(String, String)> = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        routes.extend(
            item.as_object()
                .unwrap()
                .keys()
                .map(|method| (method.clone(), path.clone())),
        );
    }
    let mut expected: BTreeSet<_> = ROUTES
        .iter()
        .map(|(method, path)| ((*method).into(), (*path).into()))
        .collect();
    let published = [
        "/events/crossings",
        "/events/errors",
        "/events/other",
        "/events/passed",
        "/events/tracks/north",
        "/events/tracks/south",
    ];
    expected.extend(published.map(|path| ("get".to_owned(), path.to_owned())));
    assert_eq!(routes, expected);
    for target in ["/api/status", "/api/graph", "/healthz", "/readyz"] {
        documented(&document, "get", target, "200", &look(&served, target).json());
    }
    documented(
        &document,
        "get",
        "/api/status",
        "4XX",
        &get(served.address, "/api/status").json(),
    );
    let bearer = format!("Bearer {SECRET}");
    let stopped = ask(served.address, "POST", "/api/stop", &[("Authorization", &bearer)]);
    documented(&document, "post", "/api/stop", "202", &stopped.json());
    // A stream does not end: `edits.rs` reads it.
    let whole = |(method, path): &&(&str, &str)| *method == "get" && *path != "/api/reloads/events";
    for (method, path) in ROUTES.iter().filter(whole) {
        let target = path.replace("{name}", "style.css");
        assert_eq!(look(&served, &target).status, 200, "{method} {target}");
        let head = ask(served.address, "HEAD", &target, &[("Authorization", &bearer)]);
        assert_eq!((head.status, head.body.as_str()), (200, ""), "{target}");
    }
}

#[test]
fn before_a_run_there_is_little_to_say() {
    let server = Server::start(settings()).unwrap();
    let address = server.address();
    let document = get(address, "/openapi.json").json();
    let ready = get(address, "/readyz");
    assert_eq!((get(address, "/healthz").status, ready.status), (200, 503));
    documented(&document, "get", "/readyz", "503", &ready.json());
    for target in ["/api/status", "/api/graph"] {
        documented(&document, "get", target, "200", &get(address, target).json());
    }
    assert_eq!(get(address, "/api/status").json()["run"]["state"], "starting");
    exposition::parse(&get(address, "/metrics").body);
    // Made ready and not begun: cameras are known, and all of them are awaited.
    let folder = tempfile::tempdir().unwrap();
    let prepared = prepared(JUNCTION, folder.path());
    server.attach(prepared.context());
    let ready = get(address, "/readyz");
    assert_eq!(
        (ready.status, &ready.json()["cameras"]),
        (503, &json!(["north", "south"]))
    );
    let status = get(address, "/api/status").json();
    documented(&document, "get", "/api/status", "200", &status);
    assert_eq!(
        (&status["run"]["state"], &status["cameras"][0]["health"]),
        (&json!("starting"), &json!("waiting"))
    );
    exposition::parse(&get(address, "/metrics").body);
    let running = prepared.start().unwrap();
    until("all cameras", || (get(address, "/readyz").status == 200).then_some(()));
    running.stop();
    running.wait();
    server.close();
}

#[test]
fn the_status_says_how_cameras_do_and_what_went_wrong() {
    let served = troubled();
    let status = until("frames and faults", || {
        let status = look(&served, "/api/status").json();
        let cameras = status["cameras"].as_array()?.iter();
        let frames = cameras.clone().filter(|camera| camera["admitted"].as_u64() >= Some(2));
        let ended = cameras.filter(|camera| camera["health"] == "ended");
        (frames.count() == 3 && ended.count() == 2).then_some(status)
    });
    let camera = |name: &str| {
        let cameras = status["cameras"].as_array().unwrap();
        cameras.iter().find(|camera| camera["name"] == name).unwrap()
    };
    let north = camera("north");
    assert_eq!(
        (&north["health"], &north["width"], &north["height"]),
        (&json!("live"), &json!(640), &json!(360))
    );
    assert!(
        north["fps"].as_f64() > Some(0.0) && north["last_frame_age_seconds"].as_f64() < Some(2.0),
        "{north}"
    );
    assert_eq!(
        (&north["group"], &north["kind"], &north["last_fault"]),
        (&json!("junction"), &json!("synthetic"), &Value::Null)
    );
    let damaged = camera("damaged");
    assert_eq!((&damaged["faults"], &damaged["health"]), (&json!(2), &json!("ended")));
    assert!(
        damaged["last_fault"]["cause"].as_str().unwrap().contains("line 3"),
        "{damaged}"
    );
    assert_eq!(camera("empty")["health"], "ended");
    let errors = status["errors"].as_array().unwrap();
    assert_eq!(
        (errors.len(), &errors[0]["camera"], &errors[0]["number"]),
        (2, &json!("damaged"), &json!(1))
    );
    assert!(errors[0]["time_ns"].as_i64() > Some(1_700_000_000_000_000_000));
    let site: Vec<_> = status["site"]
        .as_array()
        .unwrap()
        .iter()
        .map(|mount| mount["path"].as_str().unwrap())
        .collect();
    assert!(
        site.contains(&"/events/tracks/north") && site.contains(&"/events/errors"),
        "{site:?}"
    );
    assert!(status["process"]["rss_bytes"].as_u64() > Some(1 << 20));
}

#[test]
fn the_graph_has_all_nodes_and_edges() {
    let served = Served::junction();
    until("answers", || {
        let graph = get(served.address, "/api/graph").json();
        let tracks = graph["nodes"]
            .as_array()?
            .iter()
            .find(|node| node["id"] == "vehicles.tracks")?
            .clone();
        (tracks["rate"].as_f64()? > 0.0 && tracks["p99_ms"].as_f64()? > 0.0).then_some(())
    });
    let answer = get(served.address, "/api/graph");
    let graph = answer.json();
    assert_eq!(
        answer.header("etag"),
        Some(format!("\"{}\"", graph["hash"].as_str().unwrap()).as_str())
    );
    assert_eq!(graph["hash"].as_str().unwrap().len(), 64);
    let ids: Vec<_> = graph["nodes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|node| node["id"].as_str().unwrap())
        .collect();
    assert_eq!(
        ids[..5],
        [
            "junction",
            "vehicles.truth",
            "vehicles.tracks",
            "vehicles.crossings",
            "passed"
        ]
    );
    let edges = graph["edges"].as_array().unwrap();
    for edge in edges {
        assert!(
            ids.contains(&edge["from"].as_str().unwrap()) && ids.contains(&edge["to"].as_str().unwrap()),
            "{edge}"
        );
    }
    let into = |node: &str| edges.iter().find(|edge| edge["to"] == node).unwrap();
    assert_eq!(
        (&into("vehicles.truth")["from"], &into("vehicles.truth")["rows"]),
        (&json!("junction"), &json!("frames"))
    );
    assert!(into("vehicles.tracks")["rate"].as_f64() > Some(0.0));
}

#[test]
fn metrics_are_strictly_what_prometheus_reads() {
    let served = troubled();
    until("the end of the recording", || {
        let cameras = look(&served, "/api/status").json()["cameras"].clone();
        let damaged = cameras
            .as_array()?
            .iter()
            .find(|camera| camera["name"] == "damaged")?
            .clone();
        (damaged["health"] == "ended").then_some(())
    });
    let answer = look(&served, "/metrics");
    assert_eq!(
        answer.header("content-type"),
        Some("text/plain; version=0.0.4; charset=utf-8")
    );
    let families = exposition::parse(&answer.body);
    let value = |family: &str, labels: &[(&str, &str)]| {
        let labels = labels
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        families[family].samples[&(family.to_owned(), labels)]
    };
    let north = [("camera", "north"), ("group", "junction")];
    let damaged = [("camera", "damaged"), ("group", "recorded")];
    assert!(value("flowrun_camera_admitted_total", &north) >= 1.0);
    assert_eq!(value("flowrun_camera_up", &north), 1.0);
    assert_eq!(value("flowrun_camera_up", &damaged), 0.0);
    assert_eq!(value("flowrun_camera_faults_total", &damaged), 2.0);
    assert_eq!(value("flowrun_camera_doubled_total", &north), 0.0);
    assert_eq!(
        value("flowrun_build_info", &[("version", env!("CARGO_PKG_VERSION"))]),
        1.0
    );
    assert!(value("process_resident_memory_bytes", &[]) > 1e6 && value("process_open_fds", &[]) > 3.0);
    let shed = &families["flowrun_camera_shed_total"].samples;
    let reasons: BTreeSet<_> = shed.keys().map(|(_, labels)| labels[2].1.as_str()).collect();
    assert_eq!(reasons, ["backlog", "delay", "in-flight"].into());
    for family in [
        "answers_total",
        "rows_total",
        "errors_total",
        "queue",
        "busy_seconds_total",
        "latency_seconds",
    ] {
        assert!(families.contains_key(&format!("flowrun_node_{family}")), "{family}");
    }
}

#[test]
fn metrics_tell_what_each_tier_of_kept_pictures_holds() {
    let graph = "cameras c { synthetic a fps=20 size=\"320x180\"; }\nflow f from=c { truth as=seen; }\nflow kept from=c { clip on=f.seen before=\"1s\" cold=\"200kB\"; encode h264; }\n";
    let served = Served::of(graph, settings());
    let value = |family: &str, labels: &[(&str, &str)]| {
        let families = exposition::parse(&get(served.address, "/metrics").body);
        let own = [("node", "kept.clip")].iter().chain(labels);
        let labels = own.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let samples = &families.get(family)?.samples;
        samples.get(&(family.to_owned(), labels.collect())).copied()
    };
    let cold = [("tier", "cold")];
    until("a kept picture", || {
        (value("flowrun_tier_high_water_bytes", &cold)? > 0.0).then_some(())
    });
    assert_eq!(value("flowrun_tier_budget_bytes", &cold), Some(200_000.0));
    assert!(value("flowrun_tier_bytes", &cold).unwrap() <= 200_000.0);
    for family in ["pictures", "demotions_total", "promotions_total"] {
        for tier in ["hot", "warm", "cold", "archive"] {
            assert!(
                value(&format!("flowrun_tier_{family}"), &[("tier", tier)]).is_some(),
                "{family}"
            );
        }
    }
    assert_eq!(value("flowrun_tier_lost_total", &[("reason", "failure")]), Some(0.0));
}
