//! Ports for servers that a test starts, ends and starts again.

use std::sync::Mutex;

use tokio::net::TcpSocket;

/// What keeps the ports that were given out, as long as this process lives.
static KEPT: Mutex<Vec<TcpSocket>> = Mutex::new(Vec::new());

/// Ports that nobody listens on, chosen by the kernel.
///
/// Each stays bound by a socket that does not listen, so that the kernel gives it to nobody else, not even as the near
/// end of an outgoing connection, while its server is not up. `SO_REUSEADDR` (socket(7)), which servers set too, lets
/// the server bind it beside that socket.
///
/// # Panics
/// When there is no free port left.
pub fn free_ports(count: usize) -> Vec<u16> {
    (0..count).map(|_| keep().expect("a free port")).collect()
}

fn keep() -> std::io::Result<u16> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(([127, 0, 0, 1], 0).into())?;
    let port = socket.local_addr()?.port();
    KEPT.lock().expect("nobody panicked while holding it").push(socket);
    Ok(port)
}
