//! Commit, removal and pins against each other: every interleaving of the actors, each of them also dying anywhere.
//! `docs/concurrency.md` names them.

mod world;

use proptest::prelude::*;

use super::{Leftover, LeftoverKind, Removed, Repository, SessionState, Unpinned, create_json, session_key};
use crate::traits::Created;
use world::{Actor, Role, Said, Start, World, data_key, explore, finished, id, manifest, now};

fn writer(repository: Repository, said: Said) -> Actor {
    Box::pin(async move {
        let key = session_key(id(), "manifest.json").unwrap();
        if let Ok(Created::Made(_)) = create_json(&repository.store, &key, &manifest()).await
            && repository.look_for_removals(id()).await.is_ok()
        {
            said.success.set(true);
        }
    })
}

/// Takes the run for dead and clears it.
fn cleaner(repository: Repository, _: Said) -> Actor {
    Box::pin(async move {
        let leftover =
            Leftover { session: id(), kind: LeftoverKind::DeadRun, keys: vec![data_key()], bytes: 5 };
        repository.clear(&leftover, now()).await.unwrap();
    })
}

fn retention(repository: Repository, said: Said) -> Actor {
    Box::pin(async move {
        let Ok(entry) = repository.session(id(), now()).await else { return };
        // Set before the removal: it may die after its purge.
        if entry.state == SessionState::Committed {
            said.retention_removed.set(true);
        }
        if let Ok(Removed::Stays(_)) = repository.remove(&entry, "old", now()).await {
            said.retention_removed.set(false);
        }
    })
}

/// Finishes whatever removal it sees.
fn finisher(repository: Repository, _: Said) -> Actor {
    Box::pin(async move {
        let Ok(sessions) = repository.sessions(now()).await else { return };
        for leftover in repository.leftovers(&sessions, now()).await.unwrap() {
            if leftover.kind == LeftoverKind::UnfinishedRemoval {
                repository.clear(&leftover, now()).await.unwrap();
            }
        }
    })
}

/// Keeps the session.
fn pinner(repository: Repository, said: Said) -> Actor {
    Box::pin(async move {
        if repository.pin(id(), None, now()).await.is_ok() {
            said.pinned.set(said.pinned.get() + 1);
        }
    })
}

/// Pins and unpins, and then keeps after all.
fn waverer(repository: Repository, said: Said) -> Actor {
    Box::pin(async move {
        if repository.pin(id(), None, now()).await.is_ok()
            && matches!(repository.unpin(id(), None, now()).await, Ok(Unpinned::Done))
        {
            pinner(repository, said).await;
        }
    })
}

/// Retention that had decided before the others moved.
fn remover(repository: Repository, _: Said) -> Actor {
    let mut deciding = Box::pin(async move {
        let entry = repository.session(id(), now()).await;
        (repository, entry.unwrap())
    });
    let (repository, entry) = finished(&mut deciding);
    Box::pin(async move {
        repository.remove(&entry, "old", now()).await.unwrap();
    })
}

/// What `explore` must at least have tried for the actors to have interleaved.
#[track_caller]
fn interleaved(start: Start, roles: &[Role], looking: usize, least: usize) {
    let states = explore(start, roles, looking);
    assert!(states > least, "only {states} states: the actors did not interleave");
}

#[test]
fn commit_and_clean_up_of_a_run_taken_for_dead_never_both_win() {
    interleaved(Start::Running, &[writer, cleaner], 2, 50);
}

#[test]
fn a_committed_session_is_never_good_without_its_bytes_while_it_is_removed() {
    interleaved(Start::Running, &[writer, retention], 2, 50);
}

#[test]
fn a_pin_and_a_removal_never_both_win() {
    interleaved(Start::Committed, &[pinner, remover], 1, 50);
    interleaved(Start::Committed, &[waverer, remover], 1, 100);
}

#[test]
fn a_refused_pin_never_takes_back_that_of_another() {
    interleaved(Start::Committed, &[pinner, pinner, remover], 2, 500);
    interleaved(Start::Unpinned, &[pinner, pinner, remover], 2, 500);
}

#[test]
fn a_pin_stands_against_two_removers_and_a_clean_up_of_its_run() {
    interleaved(Start::Committed, &[pinner, remover, remover], 1, 500);
    interleaved(Start::Running, &[pinner, writer, cleaner], 2, 500);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]
    #[test]
    fn three_actors_in_any_order_lose_nothing(
        schedule in prop::collection::vec(0_usize..3, 0..80),
        trio in 0_usize..5,
    ) {
        let trios: [(Start, [Role; 3]); 5] = [
            (Start::Running, [writer, cleaner, cleaner]),
            (Start::Running, [writer, cleaner, finisher]),
            (Start::Running, [writer, retention, cleaner]),
            (Start::Running, [writer, retention, finisher]),
            (Start::Running, [writer, pinner, retention]),
        ];
        let (start, roles) = &trios[trio];
        World::new(*start, roles, &schedule);
    }

    #[test]
    fn pins_of_many_stand_against_removals_to_their_end(
        schedule in prop::collection::vec(0_usize..5, 0..120),
    ) {
        World::new(Start::Committed, &[pinner, remover, pinner, retention, finisher], &schedule);
    }
}
