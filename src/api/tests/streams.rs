//! Large answers, made piece by piece while the state goes on.

use super::*;
use crate::rng::Rng;

fn stream(world: &World, text: &str) -> Box<Stream> {
    match handle(&world.view(), &request(text), &world.peer) {
        Answer::Stream(_, stream) => stream,
        other => panic!("{text} is not streamed: {other:?}"),
    }
}

fn put_quietly(world: &mut World, name: &str) {
    let note = "x".repeat(2_000);
    world.body(&put(name, &format!("\"note\":\"{note}\"")), 201);
}

#[test]
fn pieces_are_small_and_make_one_array() {
    let mut world = World::new();
    for number in 0..200 {
        put_quietly(&mut world, &format!("job{number:03}"));
    }
    for query in ["", "?pretty"] {
        let mut stream = stream(&world, &format!("GET /v1/jobs{query}"));
        let (mut all, mut pieces) = (Vec::new(), 0);
        loop {
            let before = all.len();
            let done = stream.produce(&world.view(), &mut all) == Progress::Done;
            pieces += 1;
            let size = all.len() - before;
            assert!(size <= 2 * (64 * 1024 + 4_096), "{size} bytes in one piece");
            assert!(size > 0);
            if done {
                break;
            }
            assert!(size >= 64 * 1024, "{size} bytes in a piece that is not the last");
        }
        assert!(pieces > 5, "{pieces}");
        let list: serde_json::Value = serde_json::from_slice(&all).unwrap();
        assert_eq!(list.as_array().unwrap().len(), 200);
        assert_eq!(all.ends_with(b"\n]\n"), query == "?pretty");
        assert_eq!(all.contains(&b'\n'), query == "?pretty");
    }
}

#[test]
fn what_is_deleted_meanwhile_is_left_out_and_nothing_appears_twice() {
    for seed in 0..6 {
        let rng = &mut Rng::new(seed);
        let mut world = World::new();
        let names: Vec<String> = (0..150).map(|number| format!("job{number:03}")).collect();
        names.iter().for_each(|name| put_quietly(&mut world, name));
        let query = if rng.chance(1, 2) { "?pretty" } else { "?_sort=displayname" };
        let mut stream = stream(&world, &format!("GET /v1/jobs{query}"));
        let mut all = Vec::new();
        while stream.produce(&world.view(), &mut all) != Progress::Done {
            let share = 1 + rng.below(4);
            for name in &names {
                match rng.below(12) {
                    // A name that is made anew is another job, which this list never promised.
                    0 if world.state.job_named(name).is_some() && rng.chance(share, 4) => {
                        world.body(&format!("DELETE /v1/jobs/{name}"), 200);
                    }
                    1 => put_quietly(&mut world, name),
                    _ => {}
                }
            }
            if rng.chance(1, 20) {
                for name in &names {
                    world.ask(&format!("DELETE /v1/jobs/{name}"));
                }
            }
        }
        let list: serde_json::Value =
            serde_json::from_slice(&all).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        let shown: Vec<&str> =
            list.as_array().unwrap().iter().map(|job| job["name"].as_str().unwrap()).collect();
        assert!(shown.is_sorted_by(|a, b| a < b), "seed {seed}: {shown:?}");
    }
}

#[test]
fn an_array_of_which_nothing_is_left_is_an_empty_one() {
    for (query, wanted) in [("", "[]"), ("?pretty", "[]\n")] {
        let mut world = World::new();
        for name in ["a", "b"] {
            world.body(&put(name, ""), 201);
        }
        let mut stream = stream(&world, &format!("GET /v1/jobs{query}"));
        for name in ["a", "b"] {
            world.body(&format!("DELETE /v1/jobs/{name}"), 200);
        }
        let mut all = Vec::new();
        while stream.produce(&world.view(), &mut all) != Progress::Done {}
        assert_eq!(String::from_utf8(all).unwrap(), wanted);
    }
}

#[test]
fn executions_are_streamed_as_they_are_when_their_turn_comes() {
    let mut world = World::new();
    world.body(&put("a", r#""keep":1"#), 201);
    world.body("POST /v1/jobs/a", 200);
    world.body("POST /v1/jobs/a", 200);
    let mut list = stream(&world, "GET /v1/jobs/a/executions");
    let mut busy = stream(&world, "GET /v1/busy?pretty");
    world.end(4, 1, End::Succeeded, b"");
    world.end(5, 1, End::Succeeded, b"");
    let text = String::from_utf8(world.read(&mut list)).unwrap();
    assert!(text.contains("5-n1-1") && !text.contains("4-n1-1"), "keep is 1: {text}");
    let _: serde_json::Value = serde_json::from_slice(&world.read(&mut busy)).unwrap();
}

/// What runs printed is asked for a bounded number of records ahead; what is not kept is said to be
/// gone; and where no output is shown none is asked for.
#[test]
fn outputs_are_asked_for_in_turn_and_shown_with_their_runs() {
    let mut world = World::new();
    world.body(&put("a", r#""keep":500"#), 201);
    for number in 0..100 {
        world.body("POST /v1/jobs/a", 200);
        let group = world.state.applied().0;
        let printed = if number % 3 == 0 { String::new() } else { format!("printed {number}") };
        world.end(group, 1, End::Succeeded, printed.as_bytes());
    }
    let gone = *world.outputs.keys().nth(7).unwrap();
    world.outputs.remove(&gone);
    let mut list = stream(&world, "GET /v1/jobs/a/executions");
    let (mut all, mut asked) = (Vec::new(), Vec::new());
    loop {
        match list.produce(&world.view(), &mut all) {
            Progress::More => {}
            Progress::Wants(records) => {
                assert!((1..=32).contains(&records.len()), "{} at once", records.len());
                asked.push(records.len());
                let known = |index| (index, world.outputs.get(&index).cloned());
                list.give(records.into_iter().map(known).collect());
            }
            Progress::Done => break,
            Progress::Cut => panic!("nothing is cut"),
        }
    }
    assert_eq!(asked, [32, 32, 2], "only of runs that printed something");
    let shown: serde_json::Value = serde_json::from_slice(&all).unwrap();
    for (item, number) in shown.as_array().unwrap().iter().rev().zip(0..) {
        let (wanted, reason) = match number {
            7 => (String::new(), "the output was dropped to make room"),
            _ if number % 3 == 0 => (String::new(), ""),
            _ => (format!("printed {number}"), ""),
        };
        assert_eq!((&item["output"], &item["reason"]), (&wanted.into(), &reason.into()));
    }
    let mut bare = stream(&world, "GET /v1/jobs/a/executions?output_size_limit=0");
    assert_eq!(bare.produce(&world.view(), &mut Vec::new()), Progress::Done);
}
