//! The connection to the system bus: opened when first needed, and again when the bus went away.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::sync::Mutex;
use zbus::{Connection, DynamicType, wire::DynamicDeserialize};

use super::BusError;

/// How long one method call may take. Jobs are not calls: they take as long as they take.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(30);

/// Handle of the system bus; cheap to clone, all clones share one connection.
#[derive(Clone, Debug, Default)]
pub struct Bus {
    current: Arc<Mutex<Option<Connection>>>,
}

/// One object's interface on the bus: whom a call goes to.
#[derive(Clone, Copy, Debug)]
pub struct Object<'a> {
    /// The service's well-known name.
    pub service: &'a str,
    /// The object's path.
    pub path: &'a str,
    /// The interface.
    pub interface: &'a str,
}

impl Bus {
    /// The system bus, not yet connected.
    pub fn system() -> Self {
        Self::default()
    }

    /// A live connection: the present one, or a new one if there is none or the bus has closed it.
    ///
    /// # Errors
    /// [`BusError::Unreachable`]: no bus listens.
    pub async fn connection(&self) -> Result<Connection, BusError> {
        let mut current = self.current.lock().await;
        if let Some(connection) = current.as_ref().filter(|c| !c.is_closed()) {
            return Ok(connection.clone());
        }
        let connection = zbus::connection::Builder::system()
            .method_timeout(CALL_TIMEOUT)
            .build()
            .await
            .map_err(|cause| BusError::Unreachable { cause })?;
        *current = Some(connection.clone());
        Ok(connection)
    }

    /// Calls `method` of `object` and hands its answer to `read`.
    ///
    /// # Errors
    /// [`BusError::Refused`] if the other side said no, [`BusError::Call`] if the answer is missing or malformed.
    pub async fn call<B, R>(&self, object: Object<'_>, method: &str, body: &B) -> Result<R, BusError>
    where
        B: Serialize + DynamicType,
        R: for<'d> DynamicDeserialize<'d>,
    {
        let connection = self.connection().await?;
        call_on(&connection, object, method, method, body).await
    }

    /// Reads one property of `object`.
    ///
    /// # Errors
    /// As [`Bus::call`]; also if the property has another type.
    pub async fn property<T>(&self, object: Object<'_>, name: &str) -> Result<T, BusError>
    where
        T: TryFrom<zbus::OwnedVariant>,
        T::Error: Into<zbus::Error>,
    {
        let properties = Object { interface: "org.freedesktop.DBus.Properties", ..object };
        let connection = self.connection().await?;
        let what = format!("reading {name} of {}", object.path);
        let body = (object.interface, name);
        let value: zbus::OwnedVariant = call_on(&connection, properties, "Get", &what, &body).await?;
        T::try_from(value).map_err(|cause| BusError::Call { what, cause: cause.into() })
    }
}

/// Calls a method over one given connection; `what` names the call in errors.
pub(super) async fn call_on<B, R>(
    connection: &Connection,
    object: Object<'_>,
    method: &str,
    what: &str,
    body: &B,
) -> Result<R, BusError>
where
    B: Serialize + DynamicType,
    R: for<'d> DynamicDeserialize<'d>,
{
    let answer = connection
        .call_method(Some(object.service), object.path, Some(object.interface), method, body)
        .await
        .map_err(|cause| failure(what, cause))?;
    answer.body().deserialize().map_err(|cause| BusError::Call { what: what.into(), cause })
}

/// Tells an answer of "no" from a call that went wrong.
fn failure(what: &str, cause: zbus::Error) -> BusError {
    match cause {
        zbus::Error::MethodError(name, message, _) => BusError::Refused {
            what: what.into(),
            name: name.to_string(),
            message: message.unwrap_or_else(|| name.to_string()),
        },
        zbus::Error::FDO(error) if !matches!(*error, zbus::fdo::Error::ZBus(_)) => {
            use zbus::DBusError;
            BusError::Refused {
                what: what.into(),
                name: error.name().to_string(),
                message: error.description().unwrap_or_default().to_string(),
            }
        }
        cause => BusError::Call { what: what.into(), cause },
    }
}
