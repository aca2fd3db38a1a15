//! Filters, sorting and pages of the list of jobs.

use super::*;

fn world() -> World {
    let mut world = World::new();
    for (name, more) in [
        ("c", r#""displayname":"Backup","metadata":{"team":"ops","x":"1"},"tags":{"role":"web"}"#),
        ("a", r#""displayname":"zeta","metadata":{"team":"dev"},"disabled":true"#),
        ("b-backup", r#""displayname":"Alpha","metadata":{"team":"ops"}"#),
        ("d", ""),
    ] {
        world.body(&put(name, more), 201);
    }
    for (name, end) in [("c", End::Succeeded), ("d", End::Failed)] {
        world.body(&format!("POST /v1/jobs/{name}"), 200);
        let group = world.state.applied().0;
        world.now.wall = Wall(world.now.wall.0 + 1_000);
        world.end(group, 1, end, b"");
    }
    world.body("PATCH /v1/jobs/b-backup\n\n{\"schedule\":\"@hourly\"}", 201);
    world
}

#[test]
fn jobs_are_filtered_sorted_and_paged() {
    let mut world = world();
    for (query, wanted, total) in [
        ("", "a b-backup c d", 4),
        ("?unknown=1", "a b-backup c d", 4),
        ("?q=backup", "b-backup", 1),
        ("?q=Backup", "c", 1),
        ("?q=ackup", "b-backup c", 2),
        ("?q=", "a b-backup c d", 4),
        ("?q=%22", "", 0),
        ("?metadata[team]=ops", "b-backup c", 2),
        ("?metadata%5Bteam%5D=ops", "b-backup c", 2),
        ("?metadata[team]=ops&metadata[x]=1", "c", 1),
        ("?metadata[team]=op", "", 0),
        ("?metadata[none]=", "", 0),
        ("?tags[role]=web", "c", 1),
        ("?tags[role]=web&metadata[team]=dev", "", 0),
        ("?disabled=true", "a", 1),
        ("?disabled=false", "b-backup c d", 3),
        ("?disabled=", "a b-backup c d", 4),
        ("?status=success", "c", 1),
        ("?status=failed", "d", 1),
        ("?status=untriggered", "a b-backup", 2),
        ("?status=partially_failed", "", 0),
        ("?status=running", "", 0),
        ("?status=untriggered&disabled=true&q=a", "a", 1),
        ("?_start=1", "b-backup c d", 4),
        ("?_end=2", "a b-backup", 4),
        ("?_start=1&_end=3", "b-backup c", 4),
        ("?_start=1&_end=1", "", 4),
        ("?_start=9", "", 4),
        ("?_start=3&_end=99999999999999999999999", "d", 4),
        ("?_sort=id&_order=ASC&_start=0&_end=10", "a b-backup c d", 4),
        ("?_sort=name&_order=DESC", "d c b-backup a", 4),
        ("?_order=desc", "d c b-backup a", 4),
        ("?_sort=displayname&_order=ASC", "d b-backup c a", 4),
        ("?_sort=schedule", "b-backup a c d", 4),
        ("?_sort=success_count&_order=DESC&_end=1", "c", 4),
        ("?_sort=error_count&_order=DESC&_end=1", "d", 4),
        ("?_sort=last_success&_order=DESC&_end=1", "c", 4),
        ("?_sort=last_error&_order=DESC&_end=1", "d", 4),
        ("?_sort=next&_order=DESC&_end=1", "b-backup", 4),
        ("?_sort=&_order=", "a b-backup c d", 4),
        ("?metadata[team]=ops&_start=1", "c", 2),
    ] {
        let response = world.ask(&format!("GET /v1/jobs{query}"));
        let total: String = total.to_string();
        assert_eq!(header(&response, "X-Total-Count"), Some(&*total), "{query}");
        let list: serde_json::Value = serde_json::from_str(&body_text(&response)).unwrap();
        let names = list.as_array().unwrap().iter().map(|job| job["name"].as_str().unwrap());
        assert_eq!(names.collect::<Vec<_>>().join(" "), wanted, "{query}");
    }
}

#[test]
fn a_list_that_makes_no_sense_is_refused() {
    let mut world = world();
    for (query, sentence) in [
        ("_start=x", "_start must be a whole number"),
        ("_start=-1", "_start must be a whole number"),
        ("_start=1.5", "_start must be a whole number"),
        ("_end=0x10", "_end must be a whole number"),
        ("_start=3&_end=2", "_end must not be less than _start"),
        ("_order=sideways", "_order must be ASC or DESC"),
        ("_sort=color", "_sort must be name, displayname"),
        ("_sort=Name", "_sort must be"),
        ("status=bad", "status must be untriggered, success"),
        ("disabled=1", "disabled must be true or false"),
    ] {
        let wanted = format!("400 | ~ {sentence} | ~ \"code\":\"bad_query\"");
        world.talk(&[(&format!("GET /v1/jobs?{query}"), &wanted)]);
    }
}
