//! The page: files that are part of the binary, so that nothing has to be installed beside it.

use sha2::{Digest, Sha256};

/// A file of the page.
pub struct Asset {
    /// Under `/assets/`; `index.html` is `/`.
    pub name: &'static str,
    /// Its media type.
    pub media: &'static str,
    /// What is in it.
    pub bytes: &'static [u8],
}

macro_rules! assets {
    ($($name:literal $media:expr;)*) => { [$(Asset { name: $name, media: $media, bytes: include_bytes!($name) }),*] };
}

const SCRIPT: &str = "text/javascript; charset=utf-8";

const ASSETS: [Asset; 10] = assets! {
    "app.js" SCRIPT;
    "counts.js" SCRIPT;
    "edits.js" SCRIPT;
    "graph.js" SCRIPT;
    "icon.svg" "image/svg+xml";
    "index.html" "text/html; charset=utf-8";
    "overlay.js" SCRIPT;
    "picture.js" SCRIPT;
    "player.js" SCRIPT;
    "style.css" "text/css; charset=utf-8";
};

/// The file of this name.
pub fn find(name: &str) -> Option<&'static Asset> {
    ASSETS.iter().find(|asset| asset.name == name)
}

impl Asset {
    /// Changes when the file does.
    pub fn etag(&self) -> String {
        let digest = Sha256::digest(self.bytes);
        let short: String = digest.iter().take(12).map(|byte| format!("{byte:02x}")).collect();
        format!("\"{short}\"")
    }
}
