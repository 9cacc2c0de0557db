//! Files embedded in the binary; a user's file of the same path shadows one.

use std::borrow::Cow;

use rust_embed::RustEmbed;

#[derive(RustEmbed)]
#[folder = "templates"]
#[prefix = "templates/"]
struct Templates;

#[derive(RustEmbed)]
#[folder = "app"]
#[prefix = "app/"]
#[exclude = "*.pyc"]
#[exclude = "*/__pycache__/*"]
struct App;

/// Assets of the product, with those of the user in front.
pub struct Assets<'a> {
    shadow: &'a dyn Fn(&str) -> Option<Vec<u8>>,
}

impl<'a> Assets<'a> {
    /// The embedded assets; `shadow` gives the user's file for a path such as `templates/nginx/nginx.conf`, if there is one.
    pub fn new(shadow: &'a dyn Fn(&str) -> Option<Vec<u8>>) -> Self {
        Self { shadow }
    }

    /// The asset at `path`.
    pub fn get(&self, path: &str) -> Option<Cow<'static, [u8]>> {
        if let Some(bytes) = self.shadow_of(path) {
            return Some(Cow::Owned(bytes));
        }
        Templates::get(path).or_else(|| App::get(path)).map(|file| file.data)
    }

    /// Whether the user's file stands in front of the one at `path`.
    pub fn is_shadowed(&self, path: &str) -> bool {
        self.shadow_of(path).is_some()
    }

    /// The user's file that stands in front of the one at `path`; an app of one's own is named in the stack file instead.
    pub fn shadow_of(&self, path: &str) -> Option<Vec<u8>> {
        if path.starts_with("templates/") { (self.shadow)(path) } else { None }
    }

    /// Paths of all embedded assets below `prefix`, sorted.
    pub fn list(&self, prefix: &str) -> Vec<String> {
        let mut paths: Vec<String> = Templates::iter()
            .chain(App::iter())
            .filter(|path| path.starts_with(prefix))
            .map(Cow::into_owned)
            .collect();
        paths.sort();
        paths
    }
}
