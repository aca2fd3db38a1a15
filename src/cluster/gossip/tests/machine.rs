//! One machine, by hand.

use super::*;
use std::time::Duration;

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// Ticks up to `until`, never late, and returns what was done.
fn run(gossip: &mut Gossip, until: Mono) -> Vec<Act> {
    let mut done = acts(gossip);
    while let Some(at) = gossip.poll_timeout().filter(|&at| at <= until) {
        gossip.tick(at);
        check(gossip);
        done.extend(acts(gossip));
    }
    done
}

/// Ticks until the first ping, and says when, whom and with which number.
fn first_ping(gossip: &mut Gossip) -> (Mono, NodeId, u32) {
    loop {
        let at = gossip.poll_timeout().unwrap();
        gossip.tick(at);
        for (_, datagram) in sent(&acts(gossip)) {
            if let Body::Ping { seq, target, .. } = datagram.body {
                return (at, target, seq);
            }
        }
    }
}

fn hear(gossip: &mut Gossip, from: u32, body: Body, words: &[Update], now: Mono) -> Vec<Act> {
    gossip.handle(address(from), &datagram(header(from, 1), body, words), now);
    check(gossip);
    acts(gossip)
}

/// The head of a message of a member that has contradicted so often.
fn spoken_up(number: u32, incarnation: u32) -> Header {
    Header { sender: word(number, 1, incarnation, State::Alive), ..header(number, 1) }
}

fn incarnation(gossip: &Gossip) -> u32 {
    gossip.me().update.incarnation
}

#[test]
fn alone_and_with_nobody_to_join_there_is_nothing_to_wait_for() {
    let mut gossip = started(1, 1, 1);
    gossip.tick(Mono(0));
    assert_eq!(gossip.poll_timeout(), None);
    assert_eq!(gossip.poll(), None);
}

#[test]
fn what_is_held_against_me_is_contradicted_by_a_higher_incarnation() {
    for (heard, after) in [
        ((1, 0, State::Alive), 0),
        ((1, 0, State::Suspect), 1),
        ((1, 0, State::Dead), 1),
        ((1, 0, State::Left), 1),
        ((1, 5, State::Alive), 6),
        ((1, 5, State::Dead), 6),
        ((0, 9, State::Dead), 0),
        ((2, 0, State::Dead), 0),
    ] {
        let mut gossip = among(5, Mono(0));
        let (boot, at, state) = heard;
        let ping = Body::Ping { seq: 1, target: id(1), origin: id(2) };
        let acts = hear(&mut gossip, 2, ping, &[word(1, boot, at, state)], Mono(0));
        assert_eq!(incarnation(&gossip), after, "{heard:?}");
        let answer = &sent(&acts)[0].1;
        assert_eq!(answer.header.sender, word(1, 1, after, State::Alive), "said at once");
        let is_spread = answer.updates.iter().any(|word| word.node == id(1));
        assert_eq!(is_spread, after > 0, "{heard:?}");
    }
}

#[test]
fn a_later_start_of_me_is_told_once_and_never_contradicted() {
    let mut gossip = among(3, Mono(0));
    let rumors = gossip.rumors();
    for (boot, tells) in [(2, true), (2, false), (3, true), (1, false), (2, false)] {
        let acts = hear(&mut gossip, 2, Body::News, &[word(1, boot, 0, State::Alive)], Mono(0));
        let wanted = if tells { vec![Event::SecondHolder(Boot(boot))] } else { vec![] };
        assert_eq!(told(&acts), wanted, "boot {boot}");
    }
    assert_eq!(gossip.me().update, word(1, 1, 0, State::Alive));
    // The other one itself, and an echo of my own words.
    gossip.handle(address(9), &datagram(header(1, 4), Body::News, &[]), Mono(0));
    gossip.handle(address(9), &datagram(header(1, 1), Body::News, &[]), Mono(0));
    assert_eq!(told(&acts(&mut gossip)), [Event::SecondHolder(Boot(4))]);
    assert_eq!(gossip.drops().of(Drop::Own), 2);
    assert_eq!(gossip.rumors(), rumors, "no word of mine is spread");
}

#[test]
fn who_has_no_higher_number_to_contradict_with_says_so_once() {
    let mut gossip = among(3, Mono(0));
    for events in [vec![Event::Speechless], vec![]] {
        let worst = word(1, 1, INCARNATION_MAX, State::Dead);
        assert_eq!(told(&hear(&mut gossip, 2, Body::News, &[worst], Mono(0))), events);
    }
}

/// How often `target` was pinged, and how many others were asked to ping it.
fn pings(acts: &[Act], target: NodeId) -> (usize, usize) {
    let sent = sent(acts);
    let count = |is_one: &dyn Fn(&Body) -> bool| sent.iter().filter(|s| is_one(&s.1.body)).count();
    let direct = count(&|body| matches!(body, Body::Ping { target: of, .. } if *of == target));
    let indirect = count(&|body| matches!(body, Body::PingFor { target: of, .. } if *of == target));
    let to_itself = |(to, sent): &(SocketAddr, Datagram)| {
        let for_it = matches!(sent.body, Body::PingFor { target: of, .. } if of == target);
        for_it && *to == address(target.get())
    };
    assert!(!sent.iter().any(to_itself), "nobody is asked to ping itself");
    (direct, indirect)
}

#[test]
fn a_member_that_does_not_answer_is_pinged_again_and_by_others_then_suspected_then_dead() {
    let mut gossip = among(10, Mono(0));
    let (at, target, _) = first_ping(&mut gossip);
    for (until, wanted) in
        [(249, (0, 0)), (250, (1, 0)), (500, (1, 3)), (750, (1, 3)), (999, (0, 0))]
    {
        assert_eq!(pings(&run(&mut gossip, at + ms(until)), target), wanted, "{until} ms");
    }
    assert_eq!(state_of(&gossip, target.get()), Some(State::Alive));
    let events = told(&run(&mut gossip, at + ms(1_000)));
    assert!(events.contains(&is_now(target.get(), 1, State::Suspect)));
    // Ten nodes: four seconds, whatever else is suspected meanwhile, and at the end it is asked.
    run(&mut gossip, at + ms(3_999));
    gossip.rumors = Rumors::default();
    let last_asked = run(&mut gossip, at + ms(4_999));
    assert_eq!(pings(&last_asked, target), (4, 6));
    let suspicion = word(target.get(), 1, 0, State::Suspect);
    let is_question = |body: &Body| match body {
        Body::Ping { target: of, .. } | Body::PingFor { target: of, .. } => *of == target,
        Body::Ack { .. } | Body::Ask(_) | Body::Cards(_) | Body::News => false,
    };
    for (_, question) in sent(&last_asked).iter().filter(|sent| is_question(&sent.1.body)) {
        assert!(question.updates.contains(&suspicion), "{question:?}");
    }
    assert!(!told(&last_asked).contains(&is_now(target.get(), 1, State::Dead)));
    let events = told(&run(&mut gossip, at + ms(5_000)));
    assert!(events.contains(&is_now(target.get(), 1, State::Dead)));
}

#[test]
fn the_neighbour_is_the_next_number_that_is_alive_all_around_the_circle() {
    let mut gossip = among(5, Mono(0));
    for (changed, state, of_1, of_3, of_5) in [
        (9, State::Alive, 2, 4, 2),
        (2, State::Suspect, 3, 4, 3),
        (3, State::Dead, 4, 4, 4),
        (5, State::Left, 4, 4, 4),
    ] {
        hear(&mut gossip, 4, Body::News, &[word(changed, 1, 0, state)], Mono(0));
        let neighbours = [1, 3, 5].map(|number| gossip.members.neighbour_of(id(number)));
        assert_eq!(neighbours, [of_1, of_3, of_5].map(|number| Some(id(number))), "{changed}");
    }
    let mut gossip = among(40, Mono(0));
    let mut pinged = 0;
    for second in 1..=10 {
        pinged += pings(&run(&mut gossip, Mono(0) + ms(1_000 * second)), id(2)).0;
        gossip.handle(address(2), &datagram(spoken_up(2, second as u32), Body::News, &[]), Mono(0));
        let ack = Body::Ack { seq: gossip.seq, subject: id(2), origin: id(1) };
        hear(&mut gossip, 2, ack, &[], Mono(0) + ms(1_000 * second));
    }
    assert!(pinged >= 10, "in every period: {pinged}");
}

#[test]
fn an_answer_counts_from_the_member_or_a_helper_and_for_this_probe_only() {
    for (from, of_seq, of_subject, is_heard) in [
        ("target", 0, "target", true),
        ("helper", 0, "target", true),
        ("stranger", 0, "target", false),
        ("target", 1, "target", false),
        ("helper", 0, "helper", false),
    ] {
        let mut gossip = among(10, Mono(0));
        let (at, target, seq) = first_ping(&mut gossip);
        let asked = sent(&run(&mut gossip, at + ms(500)));
        let body = Body::PingFor { seq, target };
        let is_asked = |n: &u32| asked.iter().any(|a| a.0 == address(*n) && a.1.body == body);
        // The neighbour is probed itself.
        let (helpers, others): (Vec<u32>, Vec<u32>) = (3..=10).partition(is_asked);
        let stranger = others.into_iter().find(|n| id(*n) != target).unwrap();
        let who = |name| match name {
            "target" => target.get(),
            "helper" => helpers[0],
            _ => stranger,
        };
        let ack = Body::Ack { seq: seq + of_seq, subject: id(who(of_subject)), origin: id(1) };
        hear(&mut gossip, who(from), ack, &[], at + ms(600));
        assert_eq!(gossip.drops().of(Drop::Unasked), u64::from(!is_heard));
        run(&mut gossip, at + ms(1_000));
        let state = if is_heard { State::Alive } else { State::Suspect };
        assert_eq!(state_of(&gossip, target.get()), Some(state), "{from} {of_subject}");
    }
}

#[test]
fn a_helper_pings_for_another_and_passes_the_answer_on() {
    let mut gossip = among(5, Mono(0));
    let ping_for = Body::PingFor { seq: 7, target: id(3) };
    let acts = hear(&mut gossip, 2, ping_for, &[], Mono(0));
    let (to, ping) = &sent(&acts)[0];
    assert_eq!(
        (*to, &ping.body),
        (address(3), &Body::Ping { seq: 7, target: id(3), origin: id(2) })
    );
    let ack = Body::Ack { seq: 7, subject: id(3), origin: id(2) };
    let acts = hear(&mut gossip, 3, ack.clone(), &[], Mono(0));
    assert_eq!((sent(&acts)[0].0, &sent(&acts)[0].1.body), (address(2), &ack));
    // What is known of it goes with the answer, and with the question before that.
    hear(&mut gossip, 4, Body::News, &[word(3, 1, 2, State::Alive)], Mono(0));
    gossip.rumors = Rumors::default();
    let acts = hear(&mut gossip, 3, ack.clone(), &[word(3, 1, 1, State::Suspect)], Mono(0));
    assert_eq!(sent(&acts)[0].1.updates[0], word(3, 1, 2, State::Alive));
    // Nobody speaks for a third one, and nothing goes to a stranger.
    assert!(sent(&hear(&mut gossip, 4, ack, &[], Mono(0))).is_empty());
    let ack = Body::Ack { seq: 7, subject: id(3), origin: id(99) };
    assert!(sent(&hear(&mut gossip, 3, ack, &[], Mono(0))).is_empty());
    let drops = gossip.drops();
    assert_eq!((drops.of(Drop::Unasked), drops.of(Drop::NoAddress)), (1, 1));
}

#[test]
fn who_asks_for_help_with_one_that_has_left_is_told_so() {
    for (state, is_told) in [(State::Suspect, false), (State::Dead, false), (State::Left, true)] {
        let mut gossip = among(5, Mono(0));
        let known = word(3, 1, 0, state);
        hear(&mut gossip, 4, Body::News, &[known], Mono(0));
        let ping_for = Body::PingFor { seq: 7, target: id(3) };
        let acts = hear(&mut gossip, 2, ping_for, &[word(3, 1, 0, State::Suspect)], Mono(0));
        let (to, answer) = &sent(&acts)[0];
        assert_eq!((*to, &answer.updates[0]), (address(if is_told { 2 } else { 3 }), &known));
        assert_eq!(answer.body == Body::News, is_told, "{state:?}");
    }
}

#[test]
fn news_is_told_at_once_and_then_five_times_a_second_until_it_was_told_often_enough() {
    let mut gossip = among(30, Mono(0));
    let news = word(30, 1, 0, State::Left);
    hear(&mut gossip, 2, Body::News, &[news], Mono(0));
    let mut tellings = 0;
    for (until, messages) in [(0, 3), (199, 0), (200, 3), (399, 0), (999, 2)] {
        let sent = sent(&run(&mut gossip, Mono(0) + ms(until)));
        tellings += sent.iter().filter(|(_, sent)| sent.updates.contains(&news)).count();
        let told = sent.iter().filter(|(_, sent)| sent.body == Body::News).count();
        // What a ping carries is told, too.
        assert!(if until < 400 { told == messages } else { told <= messages }, "{until}: {told}");
    }
    assert_eq!(tellings, 8, "4 times the digits of 29 nodes");
    assert!(!gossip.timers.is_armed(Timer::Spread), "no news, no waking");
    let mut gossip = among(2, Mono(0));
    let goodbye = Header { sender: word(2, 1, 0, State::Left), ..header(2, 1) };
    gossip.handle(address(2), &datagram(goodbye, Body::News, &[]), Mono(0));
    run(&mut gossip, Mono(0) + ms(999));
    let is_armed = gossip.timers.is_armed(Timer::Spread);
    assert_eq!((gossip.rumors(), is_armed), (1, false), "nobody to tell it, no waking");
}

#[test]
fn a_ping_for_another_node_is_not_answered() {
    let mut gossip = among(3, Mono(0));
    let ping = Body::Ping { seq: 1, target: id(9), origin: id(2) };
    assert!(sent(&hear(&mut gossip, 2, ping, &[], Mono(0))).is_empty());
    assert_eq!(gossip.drops().of(Drop::Misdirected), 1);
}

#[test]
fn a_suspect_and_a_dead_one_hear_of_it_first_whenever_they_are_spoken_to() {
    for state in [State::Suspect, State::Dead, State::Left] {
        let mut gossip = among(5, Mono(0));
        let held = word(3, 1, 0, state);
        hear(&mut gossip, 2, Body::News, &[held], Mono(0));
        for _ in 0..50 {
            let ping = Body::Ping { seq: 1, target: id(1), origin: id(3) };
            let acts = hear(&mut gossip, 3, ping, &[], Mono(0));
            assert_eq!(sent(&acts)[0].1.updates[0], held);
        }
        gossip.handle(address(3), &datagram(spoken_up(3, 1), Body::News, &[]), Mono(0));
        assert_eq!(state_of(&gossip, 3), Some(State::Alive));
        run(&mut gossip, Mono(0));
    }
}

#[test]
fn a_suspicion_that_was_contradicted_ends_in_nothing() {
    let mut gossip = among(5, Mono(0));
    hear(&mut gossip, 2, Body::News, &[word(3, 1, 0, State::Suspect)], Mono(0));
    hear(&mut gossip, 2, Body::News, &[word(3, 1, 1, State::Alive)], Mono(0) + ms(3_900));
    assert_eq!(state_of(&gossip, 3), Some(State::Alive));
    gossip.tick(Mono(0) + ms(4_001));
    assert_eq!(state_of(&gossip, 3), Some(State::Alive));
    // The old suspicion again changes nothing.
    hear(&mut gossip, 2, Body::News, &[word(3, 1, 0, State::Dead)], Mono(0) + ms(4_100));
    assert_eq!(state_of(&gossip, 3), Some(State::Alive));
}

#[test]
fn who_has_left_is_not_dead_and_comes_back_with_a_new_boot_only_by_itself() {
    let mut gossip = among(3, Mono(0));
    let mut goodbye = header(3, 1);
    goodbye.sender.state = State::Left;
    gossip.handle(address(3), &datagram(goodbye, Body::News, &[]), Mono(0));
    assert_eq!(told(&acts(&mut gossip)), [is_now(3, 1, State::Left)]);
    hear(&mut gossip, 2, Body::News, &[word(3, 1, 0, State::Dead)], Mono(0));
    assert_eq!(state_of(&gossip, 3), Some(State::Left));
    let healed = exchanges(&run(&mut gossip, Mono(0) + ms(3_000_000)));
    assert!(healed.iter().filter(|&&to| to == address(2)).count() > 20, "the other one is dead");
    assert!(!healed.contains(&address(3)), "nobody looks for one that has left");
    let acts = hear(&mut gossip, 2, Body::News, &[word(3, 2, 0, State::Alive)], Mono(0));
    assert_eq!(told(&acts), [is_now(3, 2, State::Alive)]);
    assert!(
        gossip.member(id(3)).unwrap().meta.is_none(),
        "the old description is of the old start"
    );
}

#[test]
fn an_old_boot_changes_nothing_and_its_holder_hears_who_came_after_it() {
    let mut gossip = among(5, Mono(0));
    let second = word(3, 2, 0, State::Alive);
    hear(&mut gossip, 2, Body::News, &[second], Mono(0));
    let before = format!("{:?}", gossip.members().collect::<Vec<_>>());
    hear(&mut gossip, 2, Body::News, &[word(3, 1, 99, State::Dead)], Mono(0));
    let ping = Body::Ping { seq: 1, target: id(1), origin: id(3) };
    let acts = hear(&mut gossip, 3, ping, &[word(4, 1, 0, State::Dead)], Mono(0));
    assert_eq!(gossip.drops().of(Drop::OldBoot), 2);
    assert_eq!(format!("{:?}", gossip.members().collect::<Vec<_>>()), before);
    let (_, answer) = &sent(&acts)[0];
    assert_eq!((&answer.body, &answer.updates[..]), (&Body::News, &[second][..]));
}

#[test]
fn one_that_is_gone_is_forgotten_after_a_day_and_one_nobody_describes_after_a_minute() {
    let mut gossip = among(3, Mono(0));
    let words = [word(3, 1, 0, State::Left), word(8, 1, 0, State::Alive)];
    hear(&mut gossip, 2, Body::News, &words, Mono(0));
    hear(&mut gossip, 2, Body::News, &[word(9, 1, 0, State::Dead)], Mono(0));
    assert_eq!(gossip.drops().of(Drop::UnknownGone), 1);
    let day = 24 * 3_600_000;
    for (at, known) in [(59_999, [3, 8].as_slice()), (60_001, &[3]), (day - 1, &[3]), (day, &[])] {
        gossip.tick(Mono(0) + ms(at));
        let left: Vec<u32> =
            [3, 8, 9].into_iter().filter(|n| state_of(&gossip, *n).is_some()).collect();
        assert_eq!(left, known, "{at} ms");
    }
    let events = told(&acts(&mut gossip));
    assert!(
        events.contains(&Event::Forgotten(id(3))) && !events.contains(&Event::Forgotten(id(8)))
    );
}

#[test]
fn who_overslept_blames_nobody() {
    let mut gossip = among(10, Mono(0));
    let (at, target, _) = first_ping(&mut gossip);
    hear(&mut gossip, 2, Body::News, &[word(9, 1, 0, State::Suspect)], at);
    gossip.tick(at + ms(60_000));
    let states: Vec<Option<State>> = [target.get(), 9].map(|n| state_of(&gossip, n)).to_vec();
    assert!(!states.contains(&Some(State::Dead)));
    let woken = at + ms(60_000);
    run(&mut gossip, woken + ms(900));
    assert_ne!(state_of(&gossip, 9), Some(State::Dead));
    run(&mut gossip, woken + ms(5_000));
    assert_eq!(state_of(&gossip, 9), Some(State::Dead), "but not for ever");
}

#[test]
fn a_leaving_node_says_goodbye_to_a_few_and_then_no_more() {
    let mut gossip = among(10, Mono(0));
    gossip.leave(Mono(0));
    let done = run(&mut gossip, Mono(0) + ms(600_000));
    let datagrams = sent(&done);
    assert_eq!(datagrams.len(), 9);
    assert!(datagrams.iter().all(|(_, sent)| sent.header.sender.state == State::Left));
    assert_eq!(told(&done), [Event::SaidGoodbye]);
    let ping = Body::Ping { seq: 1, target: id(1), origin: id(2) };
    let answer = &sent(&hear(&mut gossip, 2, ping, &[word(1, 1, 0, State::Dead)], Mono(0)))[0].1;
    assert_eq!(answer.header.sender, word(1, 1, 0, State::Left));
    assert_eq!(gossip.poll_timeout(), None);
    let mut alone = started(1, 1, 1);
    alone.leave(Mono(0));
    assert_eq!(told(&run(&mut alone, Mono(0))), [Event::SaidGoodbye]);
}

#[test]
fn a_member_known_by_number_only_is_asked_for_and_then_told() {
    let mut gossip = among(3, Mono(0));
    let newcomer = word(7, 4, 0, State::Alive);
    assert_eq!(told(&hear(&mut gossip, 2, Body::News, &[newcomer], Mono(0))), []);
    let is_question = |(_, sent): &(SocketAddr, Datagram)| matches!(sent.body, Body::Ask(_));
    let asked = sent(&run(&mut gossip, Mono(0))).into_iter().find(is_question).unwrap();
    assert_eq!(asked.0, address(2), "who told of it is asked first");
    assert_eq!(asked.1.body, Body::Ask(vec![id(7)]));
    for (card, is_taken) in [
        (card(7, 3, 1), false),
        (card(8, 4, 1), false),
        (card(7, 4, 1), true),
        (card(7, 4, 1), false),
    ] {
        let acts = hear(&mut gossip, 2, Body::Cards(vec![card]), &[], Mono(0));
        let wanted = [is_now(7, 4, State::Alive), Event::Described(id(7))];
        assert_eq!(told(&acts), if is_taken { &wanted[..] } else { &[] });
    }
    assert_eq!(gossip.drops().of(Drop::StrayCard), 2, "one that is held is none");
    // A newer version is asked for too.
    let changed = Update { incarnation: 1, meta: 2, ..newcomer };
    hear(&mut gossip, 2, Body::News, &[changed], Mono(0));
    let asked = sent(&run(&mut gossip, Mono(0) + ms(2_000)));
    assert!(asked.iter().any(|(_, sent)| sent.body == Body::Ask(vec![id(7)])));
    assert_eq!(
        told(&hear(&mut gossip, 2, Body::Cards(vec![card(7, 4, 2)]), &[], Mono(0))),
        [Event::Described(id(7))]
    );
    hear(&mut gossip, 2, Body::Cards(vec![card(7, 4, 1)]), &[], Mono(0));
    assert_eq!(gossip.drops().of(Drop::StrayCard), 3, "an old one is");
}

#[test]
fn descriptions_are_given_as_far_as_they_fit_in_one_datagram() {
    let mut gossip = among(30, Mono(0));
    let ask = Body::Ask((1..=30).map(id).collect());
    let acts = hear(&mut gossip, 2, ask, &[], Mono(0));
    let Body::Cards(cards) = &sent(&acts)[0].1.body else { panic!("{acts:?}") };
    assert!(cards.len() > 10 && cards[0] == card(1, 1, 1));
    assert!(sent(&hear(&mut gossip, 2, Body::Ask(vec![id(99)]), &[], Mono(0))).is_empty());
}

#[test]
fn a_changed_description_has_a_new_version_and_a_made_up_version_is_outbid() {
    let mut gossip = among(3, Mono(0));
    let changed = Meta { expect: 3, ..meta(1) };
    gossip.set_meta(changed, Mono(0)).unwrap();
    assert_eq!(
        gossip.me().update,
        Update { incarnation: 1, meta: 2, ..word(1, 1, 0, State::Alive) }
    );
    let made_up = Update { incarnation: 1, meta: 9, ..word(1, 1, 0, State::Alive) };
    hear(&mut gossip, 2, Body::News, &[made_up], Mono(0));
    assert_eq!((gossip.me().update.incarnation, gossip.me().update.meta), (2, 10));
    assert_eq!(gossip.card.version, 10);
    let made_up = Update { meta: u16::MAX, ..made_up };
    assert_eq!(told(&hear(&mut gossip, 2, Body::News, &[made_up], Mono(0))), [Event::Speechless]);
}

#[test]
fn the_leader_of_the_highest_epoch_is_hinted_at() {
    let mut gossip = among(3, Mono(0));
    gossip.set_leader(Epoch(4), id(3));
    for (epoch, node, tells) in [(3, 2, false), (4, 2, false), (5, 2, true), (5, 3, false)] {
        let mut head = header(2, 1);
        head.leader = Some((Epoch(epoch), id(node)));
        gossip.handle(address(2), &datagram(head, Body::News, &[]), Mono(0));
        assert_eq!(told(&acts(&mut gossip)).len(), usize::from(tells), "epoch {epoch}");
    }
    gossip.set_leader(Epoch(2), id(1));
    assert_eq!(gossip.leader(), Some((Epoch(5), id(2))));
    let ping = Body::Ping { seq: 1, target: id(1), origin: id(2) };
    let answer = &sent(&hear(&mut gossip, 2, ping, &[], Mono(0)))[0].1;
    assert_eq!(answer.header.leader, Some((Epoch(5), id(2))));
}

#[test]
fn two_clusters_never_merge_not_even_by_one_that_has_not_joined() {
    let of =
        |cluster: u64, number: u32| Header { cluster: ClusterId(cluster), ..header(number, 1) };
    // (own cluster, clusters of those who speak, which of the members 12, 13, … are known after)
    for (own, speakers, known) in [
        (7, vec![8], vec![]),
        (7, vec![7], vec![2, 12]),
        (7, vec![0], vec![2]),
        (0, vec![0], vec![2, 12]),
        (0, vec![7], vec![2, 12]),
        (0, vec![7, 8, 0], vec![2, 4, 12, 14]),
        (0, vec![0, 8, 7], vec![2, 3, 12, 13]),
    ] {
        let me =
            Me { node: id(1), boot: Boot(1), meta: Meta { cluster: ClusterId(own), ..meta(1) } };
        let mut gossip = Gossip::new(me, 1, Timing::times(1)).unwrap();
        for (number, &cluster) in (2..).zip(&speakers) {
            let words = [word(10 + number, 1, 0, State::Alive)];
            gossip.handle(
                address(number),
                &datagram(of(cluster, number), Body::News, &words),
                Mono(0),
            );
        }
        let after: Vec<u32> = gossip.members().map(|view| view.update.node.get()).collect();
        assert_eq!(after, known, "{own} hears {speakers:?}");
    }
}

#[test]
fn a_foreign_message_is_counted_and_told_of_once_an_hour() {
    let mut gossip = among(3, Mono(0));
    let foreign = Header { cluster: ClusterId(8), ..header(9, 1) };
    for (at, tells) in [(0, true), (1, false), (3_599_999, false), (3_600_000, true)] {
        gossip.handle(address(9), &datagram(foreign, Body::News, &[]), Mono(0) + ms(at));
        let wanted = if tells { vec![Event::Foreign(ClusterId(8), address(9))] } else { vec![] };
        assert_eq!(told(&acts(&mut gossip)), wanted, "{at} ms");
    }
    assert_eq!(gossip.drops().of(Drop::Foreign), 4);
}

#[test]
fn who_joins_another_cluster_than_it_heard_of_forgets_what_it_heard() {
    for (joined, known) in [(7, 2), (8, 0)] {
        let me = Me { node: id(1), boot: Boot(1), meta: Meta { cluster: ClusterId(0), ..meta(1) } };
        let mut gossip = Gossip::new(me, 1, Timing::times(1)).unwrap();
        gossip.list_answered(address(2), &list(2, 2..=3, true), Mono(0));
        let meta = Meta { cluster: ClusterId(joined), ..meta(1) };
        gossip.set_meta(meta, Mono(0)).unwrap();
        assert_eq!(gossip.members().count(), known);
        check(&gossip);
    }
}

#[test]
fn a_list_is_answered_with_the_descriptions_that_the_other_side_lacks() {
    let mut gossip = among(5, Mono(0));
    let held = |number, meta| (Update { meta, ..word(number, 1, 0, State::Alive) }, None);
    let entries = vec![held(2, 1), held(3, 1), held(4, 0)];
    let ask = List { header: header(2, 1), is_answer: false, entries }.encode();
    let answer = gossip.list_asked(address(2), &ask, Mono(0)).unwrap();
    let List { is_answer, entries, .. } = List::decode(&answer).unwrap();
    assert!(is_answer);
    let described: Vec<u32> =
        entries.iter().filter_map(|(_, card)| card.as_ref()).map(|card| card.node.get()).collect();
    assert_eq!(described, [1, 4, 5]);
    assert_eq!(entries.len(), 5);
    assert_eq!(gossip.list_asked(address(2), &answer, Mono(0)), None, "an answer is no question");
}

#[test]
fn a_death_in_a_list_is_a_suspicion_and_in_a_datagram_it_is_one() {
    let dead = word(3, 1, 0, State::Dead);
    let mut gossip = among(5, Mono(0));
    let list = List { header: header(2, 1), is_answer: true, entries: vec![(dead, None)] }.encode();
    gossip.list_answered(address(2), &list, Mono(0));
    assert_eq!(state_of(&gossip, 3), Some(State::Suspect));
    hear(&mut gossip, 2, Body::News, &[dead], Mono(0));
    assert_eq!(state_of(&gossip, 3), Some(State::Dead));
}

#[test]
fn lists_are_compared_with_a_member_a_dead_one_and_a_strange_address_to_join_by() {
    let mut gossip = among(5, Mono(0));
    gossip.set_join(vec![address(2), address(77)], Mono(0));
    hear(&mut gossip, 2, Body::News, &[word(5, 1, 0, State::Dead)], Mono(0));
    // All others are kept alive, or the suspicions would get in the way.
    let mut with = Vec::new();
    for second in 0..120 {
        for number in 2..=4 {
            let bytes = datagram(spoken_up(number, second + 1), Body::News, &[]);
            gossip.handle(address(number), &bytes, Mono(0) + ms(1_000 * u64::from(second)));
        }
        with.extend(exchanges(&run(&mut gossip, Mono(0) + ms(1_000 * u64::from(second) + 999))));
    }
    let count = |number: u32| with.iter().filter(|&&to| to == address(number)).count();
    assert_eq!((count(5), count(77)), (2, 2));
    assert_eq!(count(2) + count(3) + count(4), 4, "one in 30 seconds");
}

#[test]
fn while_nobody_is_known_the_addresses_to_join_by_are_tried_in_turn() {
    let mut gossip = started(1, 1, 1);
    gossip.set_join(vec![address(2), address(1), address(3)], Mono(0));
    let done = run(&mut gossip, Mono(0) + ms(15_000));
    let with = exchanges(&done);
    assert_eq!(with.len(), 4, "at once, and every 5 seconds");
    assert!(!with.contains(&address(1)), "not with oneself");
    assert!(with.contains(&address(2)) && with.contains(&address(3)));
}

#[test]
fn bytes_that_are_no_message_are_counted() {
    let mut gossip = started(1, 1, 1);
    gossip.handle(address(2), b"hello", Mono(0));
    gossip.list_answered(address(2), b"hello", Mono(0));
    assert_eq!(gossip.list_asked(address(2), &[], Mono(0)), None);
    assert_eq!(gossip.drops().of(Drop::Malformed), 3);
    assert!(Drop::ALL.iter().enumerate().all(|(at, &why)| why as usize == at));
}
