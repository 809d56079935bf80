//! `shim bundle`

use std::os::fd::AsFd as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::bundle::{self, account};
use crate::catalog::summary::Summary;
use crate::cdi;
use crate::cli::flags::{Arity, Form, Given, switch};
use crate::cli::spec_flags::{BUNDLE_REFUSED, SPEC_FLAGS};
use crate::cli::{Globals, Verb};
use crate::command::{mount_options, network_options, spec_options, store};
use crate::error::{Context, Error, Result};
use crate::image::platform::Platform;
use crate::root::remove::Folder;
use crate::root::{lookup, make, remove};
use crate::store::Store;
use crate::store::image::Found;
use crate::{host, output, rootless, signals};

pub(super) const VERB: Verb = Verb {
    names: &["bundle"],
    about: "Write an OCI bundle of an image: config.json and a root folder, for any OCI runtime",
    form: Form {
        usage: "[OPTIONS] IMAGE FOLDER [COMMAND] [ARG...]\n        shim bundle --rm FOLDER",
        flags: &[
            &[
                switch("copy", "Copy the image's files instead of mounting an overlay of them"),
                switch("rm", "Remove the bundle in this folder"),
            ],
            &SPEC_FLAGS,
            &BUNDLE_REFUSED,
        ],
        arity: Arity::AtLeast(1),
        flags_end_at_argument: true,
    },
    run,
};

fn run(globals: &Globals, given: &Given) -> Result<u8> {
    if given.is_on("rm") {
        return remove(globals, given);
    }
    let words = given.words()?;
    let [image, folder, command @ ..] = &words[..] else {
        return Err(Error::usage("'shim bundle' requires at least 2 arguments: IMAGE FOLDER"));
    };
    spec_options::refuse(given, &BUNDLE_REFUSED)?;
    if let Some((flag, name)) = spec_options::modes(given, rootless::is_inside())?.joined().next() {
        return Err(Error::usage(format!("--{flag} container:{name}: a bundle joins no container")));
    }
    for attachment in network_options::attachments(given)? {
        if !matches!(attachment.target.as_str(), "none" | "host") {
            let reason = "a bundle's network is none or host: who runs it makes others";
            return Err(Error::usage(format!("--network {}: {reason}", attachment.target)));
        }
    }
    if let Some(name) = given.texts("device")?.into_iter().find(|text| cdi::name::parse(text).is_some()) {
        return Err(Error::usage(format!(
            "--device {name}: devices of CDI are for containers, not for bundles"
        )));
    }
    let mounts = mount_options::read(given)?;
    mounts.refuse_volumes()?;
    let options = spec_options::options(given, command, mounts.mounts(), rootless::is_inside())?;
    let copy = match given.switched("copy") {
        Some(false) if rootless::is_inside() => {
            let reason = "an overlay of an ordinary user's would be gone with this command";
            return Err(Error::usage(format!("--copy=false: {reason}")));
        }
        given => given.unwrap_or(rootless::is_inside()),
    };
    let store = store(globals)?;
    let summary = find(&store, image, given.text("platform")?)?;
    for path in summary.config.config.iter().flat_map(|config| config.volumes.iter().flatten()) {
        globals.debug(|| format!("the image's volume {:?} is a folder of the root", path.0));
    }
    // Before there are other threads.
    let interrupted = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&interrupted);
    signals::on_interrupt(move || told.store(true, Ordering::Relaxed))?;
    let host = host::read(rootless::mappings()?, options.privileged)?;
    let request = make::Request {
        store: store.folders.root(),
        image_id: &summary.id,
        image: &summary.image,
        folder: Path::new(folder),
        copy,
        who: rootless::who()?,
        interrupted: &interrupted,
    };
    let id = make::make(&request, |id, root| {
        let files = (lookup::read_accounts(root, "/etc/passwd")?, lookup::read_accounts(root, "/etc/group")?);
        let files = account::Files { passwd: &files.0, group: &files.1 };
        let user = bundle::user(&summary.config, &options);
        let account = account::resolve(user, &options.groups, files)?;
        let spec = bundle::spec(&summary.config, &options, &host, &account, id.as_str())?;
        lookup::make_folders(root.as_fd(), &spec.process.cwd)?;
        serde_json::to_vec_pretty(&spec)
            .map_err(|error| Error::invalid(error.to_string()))
            .during(|| "config.json".into())
    })?;
    globals.debug(|| format!("bundle {id} of image {}", summary.id));
    Ok(0)
}

fn find(store: &Store, word: &str, platform: Option<&str>) -> Result<Summary> {
    let images = store.images.read()?;
    let id = match images.find(word)? {
        Found::Name(id, _) | Found::Id(id) => id,
    };
    let image = images.get(&id).cloned().ok_or_else(|| Error::not_found(format!("No such image: {word}")))?;
    let summary = Summary::read(store, &id, image)?;
    if let Some(wanted) = platform.map(Platform::parse).transpose()?
        && wanted.rank(&summary.config.platform).is_none()
    {
        let actual = summary.config.platform.clone().normalised();
        return Err(Error::not_found(format!(
            "image with reference {word} was found but does not match the specified platform: \
             wanted {wanted}, actual: {actual}"
        )));
    }
    Ok(summary)
}

fn remove(globals: &Globals, given: &Given) -> Result<u8> {
    let words = given.words()?;
    let [folder] = words[..] else {
        return Err(Error::usage("'shim bundle --rm' requires 1 argument: FOLDER"));
    };
    if let Some((other, _)) = given.pairs().find(|(name, _)| *name != "rm") {
        return Err(Error::usage(format!("conflicting options: --rm and --{other}")));
    }
    let store = store(globals)?;
    let left = remove::remove(store.folders.root(), Path::new(folder))?;
    // Its layers may be nobody's by now: the image may have been removed while it stood.
    store.collect()?;
    match left {
        Folder::Cleared | Folder::Missing => {}
        Folder::Kept => output::complain(&format!("{folder}: the bundle is removed; other files in it stay")),
    }
    Ok(0)
}
