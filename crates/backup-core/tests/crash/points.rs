//! Runs that die, or fail, at every single operation on their store: afterwards a normal run finds everything in order.

use super::world::{Deed, Kind, World, day};
use backup_core::words::ErrorKind;
use backup_testkit::suites::{
    faults::{Fault, at},
    invariants::Expect,
};
use chrono::TimeDelta;
use tokio::runtime::{Builder, Runtime};

const DEEDS: [Deed; 4] = [Deed::Backup, Deed::Verify, Deed::Cleanup, Deed::Restore];

/// Time stands still unless everybody waits.
fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().start_paused(true).build().unwrap()
}

/// How the dead look to the next run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    /// On the same host, a minute later: it sees that the process has ended.
    Here,
    /// Somewhere else, a day later.
    Elsewhere,
}

/// Lets `deed` go wrong by `fault` at each of its operations, then has a normal run. How many operations there were.
fn at_each_operation(past: &World, deed: Deed, fault: Fault, next: Next) -> u64 {
    for number in 1.. {
        let (mut world, host) = runtime().block_on(async {
            let mut world = past.copy().await;
            let (_, host) = world.run(deed, day(5), at(number, fault)).await;
            (world, host)
        });
        // A runtime of its own: nothing of the dead goes on.
        runtime().block_on(afterwards(
            &mut world,
            deed,
            next,
            &format!("{deed:?} {fault:?} at {number}, {next:?}"),
        ));
        if host.operations() < number {
            return number - 1;
        }
    }
    unreachable!("numbers do not end")
}

async fn afterwards(world: &mut World, deed: Deed, next: Next, what: &str) {
    let mut later = day(5) + TimeDelta::days(1);
    if next == Next::Here {
        world.bury().await;
        later = day(5) + TimeDelta::minutes(1);
    }
    let broken = world.check(later, Expect::LeftOvers).await;
    assert_eq!(broken, [], "{what}\n{}", world.trace.text());
    if deed == Deed::Restore {
        let (resumed, _) = world.run(Deed::Restore, later, Vec::new()).await;
        assert!(matches!(resumed, Some(Ok(()))), "{what}: {resumed:?}\n{}", world.trace.text());
    }
    if let Err(error) = world.normal_run(later).await {
        panic!("{what}: {}\n{}", error.chain(), world.trace.text());
    }
    let broken = world.check(later, Expect::Tidy).await;
    assert_eq!(broken, [], "{what}\n{}", world.trace.text());
}

fn everywhere(kind: Kind, faults: &[(Fault, Next)]) -> u64 {
    let past = runtime().block_on(World::with_a_past(kind));
    let mut points = 0;
    for deed in DEEDS {
        for (fault, next) in faults {
            let tried = at_each_operation(&past, deed, *fault, *next);
            println!(
                "{kind:?}: {deed:?} with {fault:?} at each of {tried} operations, the next run {next:?}"
            );
            points += tried;
        }
    }
    println!("{kind:?}: {points} points");
    points
}

const DEATHS: [(Fault, Next); 4] = [
    (Fault::DieBefore, Next::Here),
    (Fault::DieBefore, Next::Elsewhere),
    (Fault::DieAfter, Next::Here),
    (Fault::DieAfter, Next::Elsewhere),
];

#[test]
fn a_run_that_dies_at_any_operation_on_a_store_in_memory_breaks_nothing() {
    assert!(everywhere(Kind::Memory, &DEATHS) > 500);
}

#[test]
fn a_run_that_dies_at_any_operation_on_a_store_without_conditional_create_breaks_nothing() {
    assert!(everywhere(Kind::Plain, &DEATHS) > 500);
}

#[test]
fn a_run_that_dies_at_any_operation_on_a_local_store_breaks_nothing() {
    assert!(
        everywhere(Kind::Local, &[(Fault::DieBefore, Next::Here), (Fault::DieAfter, Next::Elsewhere)]) > 250
    );
}

#[test]
fn an_operation_that_fails_breaks_nothing() {
    let faults =
        [Fault::Before(ErrorKind::Unreachable), Fault::After, Fault::Midway, Fault::Short, Fault::Full];
    assert!(everywhere(Kind::Memory, &faults.map(|fault| (fault, Next::Elsewhere))) > 500);
}
