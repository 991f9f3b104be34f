//! Members of the store's cluster: who they are, and changes of them.
//!
//! Listing, adding, removing and changing addresses is etcd's v2 API and works on any server that speaks it. Read
//! replicas, promotion and a change of the leader are Muster's own.

use reqwest::Method;
use serde::Serialize;

use crate::client::Client;
use crate::client::answer::{Member, MemberStatuses, Members};
use crate::client::error::ClientError;
use crate::client::request::{Reply, Request};

/// The body of `POST` and `PUT /v2/members`.
#[derive(Serialize)]
struct Body<'a> {
    #[serde(rename = "peerURLs")]
    peer_urls: &'a [String],
    /// Muster's own; etcd's v2 API knows no such members and passes it over.
    #[serde(rename = "isLearner", skip_serializing_if = "std::ops::Not::not")]
    is_learner: bool,
}

impl Client {
    /// The members of the store's cluster.
    ///
    /// # Errors
    /// [`ClientError::Unavailable`], [`ClientError::Malformed`].
    pub async fn members(&self) -> Result<Vec<Member>, ClientError> {
        let (reply, from) = self.ask(&Request::get("/v2/members")).await?;
        Ok(reply.parse::<Members>(&from)?.members)
    }

    /// The member that leads.
    ///
    /// # Errors
    /// [`ClientError::Unavailable`] also when there is no leader; [`ClientError::Malformed`].
    pub async fn leader(&self) -> Result<Member, ClientError> {
        let (reply, from) = self.ask(&Request::get("/v2/members/leader")).await?;
        reply.parse(&from)
    }

    /// The members with where they stand; `None` from servers that are not Muster.
    ///
    /// # Errors
    /// [`ClientError::Unavailable`], [`ClientError::Malformed`].
    pub async fn member_statuses(&self) -> Result<Option<MemberStatuses>, ClientError> {
        let (reply, from) = self.ask(&Request::get("/muster/v1/members")).await?;
        if reply.status == 404 {
            return Ok(None);
        }
        reply.parse(&from).map(Some)
    }

    /// Adds a member that will be reached by other members at `peer_urls`; it has still to be started. A read replica
    /// (Muster only) gets every change and answers clients, and never votes.
    ///
    /// # Errors
    /// [`ClientError::Declined`]: 400 for a bad URL, 409 when a member has one of them already.
    /// [`ClientError::UnknownOutcome`], also when a server refuses for the health of its cluster;
    /// [`ClientError::Unavailable`]; [`ClientError::Malformed`].
    pub async fn add_member(&self, peer_urls: &[String], read_replica: bool) -> Result<Member, ClientError> {
        let body = json(&Body { peer_urls, is_learner: read_replica });
        let (reply, from) = self.tell(&Request::json(Method::POST, "/v2/members", body)).await?;
        reply.parse(&from)
    }

    /// Removes a member by its hexadecimal id. Muster refuses what would lose the quorum, unless `force` is
    /// `Some(true)`, and tells why when it is `Some(false)`; with `None` it is etcd's own request, as its answers are.
    ///
    /// # Errors
    /// [`ClientError::Declined`]: 404 for no such member, 410 for one that was removed before, 409 when the quorum
    /// would be lost. Else as [`Client::add_member`].
    pub async fn remove_member(&self, id: &str, force: Option<bool>) -> Result<(), ClientError> {
        let mut request = Request::bare(Method::DELETE, &format!("/v2/members/{id}"));
        if let Some(force) = force {
            request.query = format!("force={force}");
        }
        self.change(&request, false).await
    }

    /// Gives a member other peer URLs.
    ///
    /// # Errors
    /// [`ClientError::Declined`]: 400 for a bad URL, 404 for no such member, 409 when another has one of them. Else
    /// as [`Client::add_member`].
    pub async fn update_member(&self, id: &str, peer_urls: &[String]) -> Result<(), ClientError> {
        let body = json(&Body { peer_urls, is_learner: false });
        self.change(&Request::json(Method::PUT, &format!("/v2/members/{id}"), body), true).await
    }

    /// Lets a read replica become a voter, once it has caught up. Only Muster can.
    ///
    /// # Errors
    /// [`ClientError::Declined`]: 404 for no such member, and from servers that are not Muster; 409 for a member that
    /// votes already. Else as [`Client::add_member`].
    pub async fn promote_member(&self, id: &str) -> Result<(), ClientError> {
        let request = Request::bare(Method::POST, &format!("/muster/v1/members/{id}/promote"));
        self.change(&request, false).await.map_err(foreign)
    }

    /// Has another member lead: this one, or the one that is best prepared. Returns who leads afterwards. Only Muster
    /// can.
    ///
    /// # Errors
    /// [`ClientError::Declined`]: 404 for no such member, and from servers that are not Muster; 409 when it cannot
    /// lead. Else as [`Client::add_member`].
    pub async fn move_leader(&self, to: Option<&str>) -> Result<Member, ClientError> {
        let mut request = Request::bare(Method::POST, "/muster/v1/leader");
        request.query = to.map_or_else(String::new, |id| format!("to={id}"));
        let (reply, from) = self.tell(&request).await?;
        reply.parse(&from).map_err(foreign)
    }

    async fn change(&self, request: &Request, repeatable: bool) -> Result<(), ClientError> {
        let (reply, from) = if repeatable { self.ask(request).await? } else { self.tell(request).await? };
        let Reply { status: 200..300, .. } = reply else { return Err(reply.refusal(&from)) };
        Ok(())
    }
}

/// A page that only Muster has answers in words that are no JSON where it is missing.
fn foreign(error: ClientError) -> ClientError {
    match error {
        ClientError::Malformed { attempt } => {
            let message = format!("the server at {} cannot do that: it is not Muster", attempt.endpoint);
            ClientError::Declined { status: 404, message }
        }
        error => error,
    }
}

fn json(body: &Body<'_>) -> String {
    // A structure of texts always can be written.
    serde_json::to_string(body).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::canned::{Act, Canned};

    async fn client(script: impl IntoIterator<Item = Act>) -> (Client, Canned) {
        let server = Canned::start(script).await;
        let settings = crate::config::ClientSettings {
            endpoints: vec![server.url.clone()],
            ..crate::config::ClientSettings::try_from(crate::config::ClientFragment::default())
                .expect("defaults")
        };
        (Client::new(&settings).expect("a client"), server)
    }

    #[tokio::test]
    async fn a_member_is_added_as_etcd_wants_it_and_a_replica_says_so() {
        let answer = r#"{"id":"a1","name":"","peerURLs":["http://h:1"],"clientURLs":[]}"#;
        let (client, server) =
            client([Act::Answer(201, 0, answer.into()), Act::Answer(201, 0, answer.into())]).await;
        let urls = ["http://h:1".to_string()];
        assert_eq!(client.add_member(&urls, false).await.expect("added").id, "a1");
        client.add_member(&urls, true).await.expect("added");
        assert_eq!(
            server.seen(),
            [
                r#"POST /v2/members {"peerURLs":["http://h:1"]}"#,
                r#"POST /v2/members {"peerURLs":["http://h:1"],"isLearner":true}"#,
            ]
        );
    }

    #[tokio::test]
    async fn a_refusal_keeps_the_servers_words() {
        let (client, server) =
            client([Act::Answer(404, 0, r#"{"message":"No such member: b2"}"#.into())]).await;
        let error = client.remove_member("b2", None).await.expect_err("a refusal");
        assert!(matches!(&error, ClientError::Declined { status: 404, .. }), "{error:?}");
        assert_eq!(error.to_string(), "No such member: b2");
        assert_eq!(server.seen(), ["DELETE /v2/members/b2"]);
    }

    #[tokio::test]
    async fn a_server_without_the_page_declines() {
        let (client, _server) = client([Act::Answer(404, 0, "404 page not found\n".into())]).await;
        let error = client.move_leader(None).await.expect_err("a refusal");
        assert!(matches!(&error, ClientError::Declined { status: 404, .. }), "{error:?}");
    }
}
