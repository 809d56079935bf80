//! `--filter`: which images are meant.

use jiff::Timestamp;

use crate::catalog::pattern;
use crate::catalog::summary::{self, Summary};
use crate::error::{Error, Result};
use crate::host;
use crate::reference::Reference;
use crate::store::Store;
use crate::time;

/// What is asked of images; all of it has to be true, but of several patterns one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    dangling: Option<bool>,
    /// `key` or `key=value`, and whether an image is to have it.
    labels: Vec<(String, Option<String>, bool)>,
    references: Vec<String>,
    /// Made before this moment.
    before: Option<Timestamp>,
    /// Made after this moment.
    since: Option<Timestamp>,
    /// Not made after this moment.
    until: Option<Timestamp>,
}

/// What every filter has to be: the check of the flag.
///
/// # Errors
/// Docker's words.
pub fn check(text: &str) -> std::result::Result<(), String> {
    if text.contains('=') { Ok(()) } else { Err("bad format of filter (expected name=value)".to_owned()) }
}

impl Filter {
    /// Reads the filters of `images`; `before` and `since` name images.
    ///
    /// # Errors
    /// A filter that there is not, or whose value means nothing.
    pub fn of_images(texts: &[&str], store: &Store) -> Result<Filter> {
        let mut filter = Filter::default();
        for text in texts {
            let (name, value) = split(text);
            let created = || -> Result<Timestamp> {
                let made = summary::find(store, value)?.0.created();
                Ok(made.unwrap_or(Timestamp::MIN))
            };
            match name.as_str() {
                "dangling" => filter.dangling = Some(boolean(&name, value)?),
                "label" => filter.add_label(value, true),
                "reference" => filter.add_reference(value),
                "before" => filter.before = earlier(filter.before, created()?),
                "since" => filter.since = filter.since.max(Some(created()?)),
                "until" => filter.until = earlier(filter.until, moment(value)?),
                _ => return Err(Error::usage(format!("invalid filter '{name}'"))),
            }
        }
        Ok(filter)
    }

    /// Reads the filters of `image prune`.
    ///
    /// # Errors
    /// As [`Filter::of_images`].
    pub fn of_prune(texts: &[&str]) -> Result<Filter> {
        let mut filter = Filter::default();
        for text in texts {
            let (name, value) = split(text);
            match name.as_str() {
                "dangling" => filter.dangling = Some(boolean(&name, value)?),
                "label" => filter.add_label(value, true),
                "label!" => filter.add_label(value, false),
                "until" => filter.until = earlier(filter.until, moment(value)?),
                _ => return Err(Error::usage(format!("invalid filter '{name}'"))),
            }
        }
        Ok(filter)
    }

    /// One more pattern of names.
    pub fn add_reference(&mut self, pattern: &str) {
        self.references.push(pattern.to_owned());
    }

    /// What `dangling` was set to.
    #[must_use]
    pub fn dangling(&self) -> Option<bool> {
        self.dangling
    }

    fn add_label(&mut self, text: &str, is_wanted: bool) {
        let (key, value) =
            text.split_once('=').map_or((text, None), |(key, value)| (key, Some(value.to_owned())));
        self.labels.push((key.to_owned(), value, is_wanted));
    }

    /// The images that fit, each with those of its names that fit.
    ///
    /// # Errors
    /// What is no pattern.
    pub fn apply(&self, images: Vec<Summary>) -> Result<Vec<Summary>> {
        let mut fitting = Vec::new();
        for mut image in images {
            if self.fits(&image) && self.keep_names(&mut image)? {
                fitting.push(image);
            }
        }
        Ok(fitting)
    }

    /// Whether the image itself fits, whatever it is called.
    #[must_use]
    pub fn fits(&self, image: &Summary) -> bool {
        let made = image.created().unwrap_or(Timestamp::MIN);
        let labels = image.config.config.as_ref().and_then(|config| config.labels.as_ref());
        let has = |key: &str, value: Option<&str>| {
            let found = labels.and_then(|labels| labels.get(key));
            found.is_some_and(|found| value.is_none_or(|value| value == found))
        };
        self.before.is_none_or(|before| made < before)
            && self.since.is_none_or(|since| made > since)
            && self.until.is_none_or(|until| made <= until)
            && self.labels.iter().all(|(key, value, is_wanted)| has(key, value.as_deref()) == *is_wanted)
    }

    /// Takes away the names that do not fit; whether the image is still meant.
    fn keep_names(&self, image: &mut Summary) -> Result<bool> {
        if !self.references.is_empty() {
            for names in [&mut image.image.tags, &mut image.image.digests] {
                let mut kept = std::collections::BTreeSet::new();
                for name in names.iter() {
                    if self.fits_name(name)? {
                        kept.insert(name.clone());
                    }
                }
                *names = kept;
            }
        }
        let (tags, digests) = (&image.image.tags, &image.image.digests);
        Ok(match self.dangling {
            _ if tags.is_empty() && digests.is_empty() => {
                self.references.is_empty() && self.dangling != Some(false)
            }
            Some(true) => tags.is_empty(),
            _ => true,
        })
    }

    /// With tag or digest, or without.
    fn fits_name(&self, name: &str) -> Result<bool> {
        let reference = Reference::parse(name)?;
        for wanted in &self.references {
            let fits = |name: &str| pattern::fits(wanted, name);
            if fits(&reference.familiar())? || fits(&reference.familiar_name())? {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// Name and value; the name without regard to case and spaces, as in Docker.
fn split(text: &str) -> (String, &str) {
    let (name, value) = text.split_once('=').unwrap_or((text, ""));
    (name.trim().to_lowercase(), value.trim())
}

fn boolean(name: &str, value: &str) -> Result<bool> {
    match value {
        "1" | "true" => Ok(true),
        "0" | "false" => Ok(false),
        _ => Err(Error::usage(format!("invalid filter '{name}=[{value}]'"))),
    }
}

fn moment(text: &str) -> Result<Timestamp> {
    time::moment(text, Timestamp::now(), &host::time_zone())
}

fn earlier(known: Option<Timestamp>, new: Timestamp) -> Option<Timestamp> {
    Some(known.map_or(new, |known| known.min(new)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;
    use crate::image::config::{Execution, ImageConfig};
    use crate::store::image::Image;

    fn image(number: u8, tags: &[&str], digests: &[&str], label: Option<(&str, &str)>) -> Summary {
        let id = Digest::of(&[number]);
        let image = Image::named(id.clone(), tags, digests);
        let labels = label.map(|(key, value)| [(key.to_owned(), value.to_owned())].into());
        let config = ImageConfig {
            created: Some(format!("2024-05-0{number}T00:00:00Z")),
            config: Some(Execution { labels, ..Execution::default() }),
            ..ImageConfig::default()
        };
        Summary { id, image, config, size: 0 }
    }

    fn images() -> Vec<Summary> {
        let digest = format!("localhost:5000/only@{}", Digest::of(b"x"));
        vec![
            image(1, &["box:1", "box:2", "me/app:1"], &[], Some(("a", "1"))),
            image(2, &[], &[&digest], None),
            image(3, &[], &[], Some(("a", "2"))),
        ]
    }

    fn fitting(filter: &Filter) -> Vec<(u8, usize)> {
        let number = |image: &Summary| (1..4).find(|number| Digest::of(&[*number]) == image.id).unwrap();
        let all = filter.apply(images()).unwrap();
        all.iter().map(|image| (number(image), image.image.tags.len() + image.image.digests.len())).collect()
    }

    fn prune(texts: &[&str]) -> Filter {
        Filter::of_prune(texts).unwrap()
    }

    #[test]
    fn images_are_chosen_as_docker_chooses_them() {
        assert_eq!(fitting(&Filter::default()), [(1, 3), (2, 1), (3, 0)]);
        assert_eq!(fitting(&prune(&["dangling=true"])), [(2, 1), (3, 0)]);
        assert_eq!(fitting(&prune(&["dangling=0"])), [(1, 3), (2, 1)]);
        assert_eq!(fitting(&prune(&["label=a"])), [(1, 3), (3, 0)]);
        assert_eq!(fitting(&prune(&["label=a=2"])), [(3, 0)]);
        assert_eq!(fitting(&prune(&["label!=a"])), [(2, 1)]);
        assert_eq!(fitting(&prune(&["label=a", "label!=a=2"])), [(1, 3)]);
        assert_eq!(fitting(&prune(&["until=2024-05-02T00:00:00Z"])), [(1, 3), (2, 1)]);
        assert_eq!(fitting(&prune(&["until=1h", " Label =a=1"])), [(1, 3)]);
        for (pattern, found) in [
            ("box", &[(1, 2)][..]),
            ("box:2", &[(1, 1)]),
            ("b*", &[(1, 2)]),
            ("*/*", &[(1, 1), (2, 1)]),
            ("*:1", &[(1, 1)]),
            ("localhost:5000/only", &[(2, 1)]),
            ("nothing", &[]),
        ] {
            let mut filter = Filter::default();
            filter.add_reference(pattern);
            assert_eq!(fitting(&filter), found, "{pattern}");
        }
        let at = |text: &str| Some(text.parse().unwrap());
        let between = Filter {
            since: at("2024-05-01T00:00:00Z"),
            before: at("2024-05-03T00:00:00Z"),
            ..Filter::default()
        };
        assert_eq!(fitting(&between), [(2, 1)]);
    }

    #[test]
    fn what_is_no_filter_is_refused() {
        for text in ["foo=bar", "dangling=maybe", "until=whenever", "before=x"] {
            assert!(Filter::of_prune(&[text]).is_err(), "{text}");
        }
        assert_eq!(Filter::of_prune(&["foo=bar"]).unwrap_err().to_string(), "invalid filter 'foo'");
        assert!(check("foo").is_err() && check("a=b").is_ok());
        let mut filter = Filter::default();
        filter.add_reference("[");
        assert!(filter.apply(images()).is_err());
    }
}
