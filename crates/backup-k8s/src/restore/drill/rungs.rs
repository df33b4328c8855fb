//! From what was found to the rungs. Pure.

use std::collections::BTreeMap;

use backup_core::policy::{Ladder, Rung, Wrong};

use super::walk::Found;

/// Reports the objects' rungs. `ground` says whether namespaces were made, or why there was no cluster; `wrong` is what is wrong
/// with the numbers.
pub(super) fn report(
    found: &Found,
    wrong: Vec<Wrong>,
    ground: &Result<bool, &String>,
    has_files: bool,
    ladder: &mut Ladder,
) {
    let (all, kinds) = (found.all_read(), found.read.len());
    let in_file = format!("{all} objects of {kinds} kinds in the file");
    match ground {
        Ok(created) => structure(found, *created, ladder),
        Err(reason) => ladder.not_run(Rung::Structure, format!("{reason}; {in_file}, each can be read")),
    }
    let created = found.all_created();
    match ground {
        _ if !wrong.is_empty() => ladder.failed(Rung::Volume, in_file, wrong),
        Ok(true) if created > 0 => {
            ladder.passed(
                Rung::Volume,
                format!("{in_file}, as the manifest says; {created} created and read back"),
            );
        }
        Ok(true) => ladder.not_run(Rung::Volume, format!("no object could be created; {in_file}")),
        Ok(false) => {
            ladder.not_run(
                Rung::Volume,
                format!("a dry run creates nothing that could be counted; {in_file}, as the manifest says"),
            );
        }
        Err(reason) => ladder.not_run(Rung::Volume, format!("{reason}; {in_file}, as the manifest says")),
    }
    content(found, ground, has_files, ladder);
    for (said, kinds) in &found.kept_in {
        let kinds: Vec<String> = kinds.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
        ladder.neutralised(format!("{}: {said}", kinds.join(", ")));
    }
    if created > 0 {
        ladder.neutralised(format!(
            "labels, annotations, finalizers and owners of the {created} created objects: only asked about (dry run)"
        ));
    }
    ladder.rest_not_run("there are no files, and of objects the rungs before say all");
}

fn structure(found: &Found, created: bool, ladder: &mut Ladder) {
    let how = match (created, found.all_created()) {
        (true, count) => format!(
            "{count} of them created in throwaway namespaces, all of them asked about as they are (dry run)"
        ),
        (false, _) => "by a dry run: nothing was created".to_owned(),
    };
    let made = format!("{} more are made by every cluster itself", found.left);
    let said = format!("the API server accepts {} objects, {how}; {made}", found.accepted);
    if !found.refused.is_empty() {
        ladder.failed(Rung::Structure, said, found.refused.clone());
    } else if !found.unknown.is_empty() {
        ladder.not_run(Rung::Structure, format!("{}; {said}", unknown(&found.unknown)));
    } else if found.accepted == 0 {
        ladder.not_run(Rung::Structure, "there is no object to ask about");
    } else {
        ladder.passed(Rung::Structure, said);
    }
}

fn content(found: &Found, ground: &Result<bool, &String>, has_files: bool, ladder: &mut Ladder) {
    let compared = found.compared;
    match ground {
        Ok(_) if compared > 0 => {
            let said = format!("the API server keeps all that was sent of {compared} objects");
            ladder.judge(Rung::Content, said, found.differing.clone());
        }
        Ok(_) if !has_files => {
            ladder.not_run(Rung::Content, "the API server showed of no object what it would keep");
        }
        Err(reason) if !has_files => ladder.not_run(Rung::Content, reason.as_str()),
        _ => {}
    }
}

/// "3 objects could not be asked about (Widget shop/a and others): the cluster does not serve ...".
fn unknown(reasons: &BTreeMap<String, (u64, String)>) -> String {
    let one = |(why, (count, first)): (&String, &(u64, String))| {
        let others = if *count > 1 { " and others" } else { "" };
        format!("{count} could not be asked about ({first}{others}): {why}")
    };
    reasons.iter().map(one).collect::<Vec<_>>().join("; ")
}
