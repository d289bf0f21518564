// SPDX-License-Identifier: GPL-2.0

//! `exitprof plot` as a command: files, formats, and what it refuses.

use super::{
    data::{series, snapshots},
    path,
    picture::{BLUE, Picture, draw},
};
use crate::host::{Host, PROFILE, exitprof};
use exitprof::snapshot::Snapshot;
use std::{fs, io::Cursor};
use tempfile::TempDir;

/// The error of `exitprof plot` with these arguments.
fn refused(arguments: &[&str]) -> String {
    let run = exitprof().arg("plot").args(arguments).assert().failure();
    String::from_utf8(run.get_output().stderr.clone()).unwrap()
}

/// The pixels of a PNG, and its width and height.
fn pixels(png: &[u8]) -> (Vec<[u8; 3]>, usize, usize) {
    let mut reader = png::Decoder::new(Cursor::new(png)).read_info().unwrap();
    let mut bytes = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut bytes).unwrap();
    assert_eq!(info.color_type, png::ColorType::Rgb, "it is opaque");
    let pixels = bytes.chunks(3).map(|pixel| pixel.try_into().unwrap());
    (pixels.collect(), info.width as usize, info.height as usize)
}

/// A PNG has what the SVG has, with two pixels for each.
#[test]
fn pngs_look_like_svgs() {
    let (_dir, file) = series(&snapshots(20));
    let file = file.to_str().unwrap();
    let of = |name| path(name);
    for arguments in [
        vec!["exits", "-i", &of("host-v2.txt")],
        vec!["histogram", "-i", &of("host-v2.txt")],
        vec!["rate", "-i", file],
        vec!["phases", "-i", file],
        vec!["heatmap", "-i", file],
    ] {
        let svg = Picture::of(&arguments);
        let dir = TempDir::new().unwrap();
        let png = dir.path().join("picture.png");
        draw(&arguments, &png);
        let (pixels, wide, high) = pixels(&fs::read(png).unwrap());
        assert_eq!(
            (wide as f64, high as f64),
            (svg.size.0 * 2.0, svg.size.1 * 2.0)
        );
        let corners = [0, wide - 1, wide * (high - 1), wide * high - 1];
        assert!(
            corners.iter().all(|&at| pixels[at] == [255; 3]),
            "{arguments:?}"
        );
        // A rectangle of a colour that no other lies on is one of pixels.
        for rect in svg.rects.iter().filter(|r| r.fill == BLUE && r.width > 4.0) {
            let colour = |x: f64, y: f64| pixels[(y * 2.0) as usize * wide + (x * 2.0) as usize];
            let edge = (rect.x + 2.5, rect.y + rect.height / 2.0);
            assert_eq!(
                colour(edge.0, edge.1),
                [0, 114, 178],
                "{arguments:?} {rect:?}"
            );
        }
        // Each text has ink in its box, and none of it is to the left or right.
        for text in &svg.texts {
            let rows =
                (text.y - text.size / 2.0) as usize * 2..(text.y + text.size / 2.0) as usize * 2;
            let is_inked = |x: usize| {
                let column = rows.clone().map(|y| pixels[y * wide + x]);
                let shades: Vec<[u8; 3]> = column.collect();
                shades.iter().any(|shade| *shade != shades[0])
            };
            let columns = text.left as usize * 2..(text.right.ceil() as usize * 2).min(wide);
            assert!(
                columns.clone().any(is_inked),
                "{arguments:?} {text:?} is missing"
            );
        }
        let inked = pixels.iter().filter(|pixel| **pixel != [255; 3]).count();
        assert!(
            inked > pixels.len() / 100 && inked < pixels.len(),
            "{arguments:?}"
        );
    }
}

#[test]
fn the_name_decides_the_format() {
    let dir = TempDir::new().unwrap();
    let at = |name: &str| dir.path().join(name);
    let host = path("host-v2.txt");
    draw(&["exits", "-i", &host], &at("a.SVG"));
    draw(&["exits", "-i", &host], &at("a.png"));
    draw(&["exits", "-i", &host, "--format", "png"], &at("a"));
    let begins = |name: &str, with: &[u8]| fs::read(at(name)).unwrap().starts_with(with);
    assert!(begins("a.SVG", b"<svg "));
    assert!(begins("a.png", b"\x89PNG"));
    assert!(begins("a", b"\x89PNG"));
    let error = refused(&["exits", "-i", &host, "-o", "a.jpg"]);
    assert!(
        error.contains("a.jpg: the name ends neither in .svg nor in .png"),
        "{error}"
    );
    let error = refused(&["exits", "-i", &host, "-o", "/missing/a.svg"]);
    assert!(error.contains("/missing/a.svg: No such file"), "{error}");
}

/// A pipe gets the bytes as they are.
#[test]
fn a_pipe_gets_the_picture() {
    let host = path("host-v2.txt");
    for (arguments, begin) in [(&[][..], &b"<svg "[..]), (&["--format", "png"], b"\x89PNG")] {
        let mut command = exitprof();
        command.args(["plot", "exits", "-i", &host]).args(arguments);
        let printed = command.assert().success().get_output().stdout.clone();
        assert!(printed.starts_with(begin));
        let file = TempDir::new().unwrap().keep().join("a.svg");
        let mut all = vec!["exits", "-i", &host];
        all.extend(arguments);
        draw(&all, &file);
        assert_eq!(printed, fs::read(&file).unwrap());
        fs::remove_dir_all(file.parent().unwrap()).unwrap();
    }
}

#[test]
fn a_live_host_is_drawn() {
    let host = Host::new(PROFILE);
    let run = host
        .exitprof("plot")
        .args(["exits", "--by", "vm"])
        .assert()
        .success();
    let picture = Picture::parse(&String::from_utf8(run.get_output().stdout.clone()).unwrap());
    assert!(
        picture.says("412-11") && picture.says("977-14"),
        "{picture:?}"
    );
}

#[test]
fn what_cannot_be_drawn_is_refused() {
    let (host, guest) = (path("host-v2.txt"), path("guest-v2.json"));
    for (arguments, why) in [
        (&["rate", "-i", &host][..], "exitprof record --interval"),
        (&["rate", "-i", &host, "-i", &guest], "name one with -i"),
        (&["phases", "-i", &host], "parameters/phases"),
        (&["histogram", "-i", &guest], "there are no histograms"),
        (&["histogram", "--by", "vm", "-i", &host], "leave out --by"),
        (
            &["heatmap", "-i", &guest],
            "a guest cannot see VMs and vCPUs",
        ),
        (&["exits", "--vm", "1", "-i", &host], "there is no VM 1"),
        (&["exits", "--at", "1s"], "name its file with -i"),
        (&["exits", "--top", "0", "-i", &host], "--top"),
    ] {
        let error = refused(arguments);
        assert!(error.contains(why), "{arguments:?}: {error}");
    }
}

/// Names of VMs are anybody's.
#[test]
fn any_name_is_drawn() {
    let mut snapshot = Snapshot::from_text(PROFILE).unwrap();
    let name = "<b>&\"'\u{202e}\u{fffe}]]>".to_string() + &"long".repeat(50);
    snapshot.vm_names.insert("412-11".into(), name);
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("a.json");
    fs::write(&file, serde_json::to_string(&snapshot).unwrap()).unwrap();
    for what in ["exits", "heatmap"] {
        let picture = Picture::of(&[what, "--by", "vm", "-i", file.to_str().unwrap()]);
        picture.check_texts();
        let has = |text: &str| text.contains("<b>&\"'") && text.ends_with('…');
        assert!(
            picture.texts.iter().any(|text| has(&text.text)),
            "{picture:?}"
        );
    }
}

/// 300 vCPUs for half a minute.
#[test]
fn many_vcpus_have_a_small_picture() {
    let mut all = snapshots(31);
    for snapshot in &mut all {
        let vcpu = snapshot.attached[0].clone();
        let own = |c: &&exitprof::snapshot::Counter| matches!(&c.owner, exitprof::snapshot::Owner::Vcpu(v) if *v == vcpu);
        let first = snapshot.counters.iter().find(own).unwrap().clone();
        for number in 10..310 {
            let vcpu = exitprof::snapshot::Vcpu {
                vcpu: number,
                id: None,
                ..vcpu.clone()
            };
            let mut counter = first.clone();
            counter.owner = exitprof::snapshot::Owner::Vcpu(vcpu.clone());
            snapshot.counters.push(counter);
            snapshot.attached.push(vcpu);
        }
    }
    let (_dir, file) = series(&all);
    let picture = Picture::of(&["heatmap", "-i", file.to_str().unwrap()]);
    picture.check_texts();
    assert!(picture.size.1 < 1500.0, "{:?}", picture.size);
    assert!(picture.rects.len() < 303 * 10, "{}", picture.rects.len());
}
