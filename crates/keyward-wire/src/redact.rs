//! `Debug` for the messages that may carry a secret: it shows which message it
//! is and how long its parts are, never what is in them.

use std::fmt::{Debug, Formatter, Result};

use crate::generated::{
    Attribute, Bytes, CreateToken, InitPin, InitToken, Login, Part, Pbkdf2, Request, Response,
    SetPin, Ticket, attribute::Value,
};

/// Stands for bytes that are not shown.
struct Hidden<'a>(&'a [u8]);

impl Debug for Hidden<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        write!(f, "<{} bytes>", self.0.len())
    }
}

impl Debug for Request {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.debug_struct("Request")
            .field("id", &self.id)
            .field("token", &self.token)
            .finish_non_exhaustive()
    }
}

impl Debug for Response {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.debug_struct("Response")
            .field("id", &self.id)
            .field("revision", &self.revision)
            .field("more", &self.more)
            .finish_non_exhaustive()
    }
}

impl Debug for Ticket {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.debug_struct("Ticket")
            .field("access", &Hidden(&self.access))
            .field("refresh", &Hidden(&self.refresh))
            .finish()
    }
}

impl Debug for Attribute {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let mut shown = f.debug_struct("Attribute");
        shown.field("type", &format_args!("{:#x}", self.r#type));
        match &self.value {
            Some(Value::Boolean(value)) => shown.field("boolean", value),
            Some(Value::Number(value)) => shown.field("number", value),
            Some(Value::Bytes(value)) => shown.field("bytes", &Hidden(value)),
            Some(Value::Template(value)) => shown.field("template", value),
            Some(Value::Numbers(value)) => shown.field("numbers", value),
            None => &mut shown,
        };
        shown.finish()
    }
}

impl Debug for Bytes {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        Hidden(&self.value).fmt(f)
    }
}

impl Debug for Part {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        Hidden(&self.bytes).fmt(f)
    }
}

impl Debug for Login {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.debug_struct("Login")
            .field("user_type", &self.user_type)
            .field("with_pin", &self.pin.is_some())
            .finish_non_exhaustive()
    }
}

macro_rules! name_only {
    ($($message:ident),*) => {$(
        impl Debug for $message {
            fn fmt(&self, f: &mut Formatter<'_>) -> Result {
                f.debug_struct(stringify!($message)).finish_non_exhaustive()
            }
        }
    )*};
}

name_only!(SetPin, InitPin, InitToken, CreateToken, Pbkdf2);
