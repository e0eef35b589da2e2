//! Holds back what follows on from an older version of the same fragment, until that has answered its last frame.

use std::cell::RefCell;
use std::rc::Rc;

use timely::scheduling::Activator;

/// A gate of one fragment on one worker. Open from the start where nothing came before.
#[derive(Clone)]
pub struct Gate(Rc<RefCell<State>>);

struct State {
    open: bool,
    waiting: Vec<Activator>,
}

impl Gate {
    /// A gate.
    pub fn new(open: bool) -> Self {
        Gate(Rc::new(RefCell::new(State {
            open,
            waiting: Vec::new(),
        })))
    }

    /// Whether what waits may go on.
    pub fn is_open(&self) -> bool {
        self.0.borrow().open
    }

    /// Whom to activate when it opens.
    pub fn register(&self, wake: Activator) {
        let mut state = self.0.borrow_mut();
        if !state.open {
            state.waiting.push(wake);
        }
    }

    /// Opens it.
    pub fn open(&self) {
        let mut state = self.0.borrow_mut();
        state.open = true;
        state.waiting.drain(..).for_each(|wake| wake.activate());
    }
}
