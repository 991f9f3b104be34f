//! `muster member ls`.

use serde::Serialize;

use super::Shown;
use crate::cli::terminal::table;
use crate::cli::{Failure, Format};
use crate::client::{Client, Member, MemberStatus, MemberStatuses, Role};

/// The members as a table or as JSON.
pub async fn list(client: &Client, format: Format) -> Result<String, Failure> {
    let MemberStatuses { members, version } = match client.member_statuses().await.map_err(Failure::new)? {
        Some(member_statuses) => member_statuses,
        None => MemberStatuses { members: of_another_server(client).await?, version: None },
    };
    let rows: Vec<Row> = members.iter().map(|status| Row::new(status, version.as_deref())).collect();
    match format {
        Format::Simple | Format::Extended => Ok(render(&rows)),
        Format::Json => serde_json::to_string(&rows).map(|text| text + "\n").map_err(Failure::new),
    }
}

/// What any server of the v2 API tells: who there is and who leads.
async fn of_another_server(client: &Client) -> Result<Vec<MemberStatus>, Failure> {
    let members = client.members().await.map_err(Failure::new)?;
    // Without a leader the list is still worth showing.
    let leader = match client.leader().await {
        Ok(leader) => Some(leader.id),
        Err(error) if error.is_unavailable() => None,
        Err(error) => return Err(Failure::new(error)),
    };
    let stand = |member: Member| MemberStatus {
        leader: leader.as_ref() == Some(&member.id),
        member,
        role: Role::Voter,
        running: None,
        lag: None,
        version: None,
    };
    Ok(members.into_iter().map(stand).collect())
}

/// One member as it is shown.
#[derive(Serialize)]
struct Row<'a> {
    #[serde(flatten)]
    member: Shown<'a>,
    leader: bool,
    role: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    running: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lag: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<&'a str>,
    #[serde(rename = "clusterVersion", skip_serializing_if = "Option::is_none")]
    cluster_version: Option<&'a str>,
}

impl<'a> Row<'a> {
    fn new(status: &'a MemberStatus, cluster_version: Option<&'a str>) -> Self {
        let MemberStatus { member, leader, role, running, lag, version } = status;
        let role = match role {
            Role::Voter => "voter",
            Role::Learner => "learner",
            Role::Replica => "replica",
        };
        let (leader, running, lag, version) = (*leader, *running, *lag, version.as_deref());
        Self { member: Shown::new(member), leader, role, running, lag, version, cluster_version }
    }

    /// The role in words, with what is worth knowing of it.
    fn words(&self) -> String {
        let role = match (self.leader, self.role) {
            (true, _) => "leader",
            (false, "replica") => "read replica",
            (false, role) => role,
        };
        match (self.running, self.lag) {
            (Some(false), None) if self.version.is_none() => format!("{role}, not started"),
            (Some(false), None) => format!("{role}, not reached"),
            (Some(false), Some(_)) => format!("{role}, not running"),
            // Nobody leads who would know. Other servers than Muster's never tell.
            (None, _) if self.version.is_some() => format!("{role}, no leader"),
            (_, Some(lag)) if self.role == "learner" => format!("{role}, {lag} entries behind"),
            _ => role.to_string(),
        }
    }
}

fn render(rows: &[Row<'_>]) -> String {
    let cells: Vec<Vec<String>> = rows
        .iter()
        .map(|row| {
            let Shown { id, name, peer_urls, client_urls } = row.member;
            let version = row.version.unwrap_or_default();
            vec![
                id.into(),
                name.into(),
                peer_urls.join(","),
                client_urls.join(","),
                row.words(),
                version.into(),
            ]
        })
        .collect();
    table::render(&["ID", "NAME", "PEER URLS", "CLIENT URLS", "ROLE", "VERSION"], &cells) + &reached(rows)
}

/// The cluster's version, and who cannot do more when others can; nothing of servers that have none.
fn reached(rows: &[Row<'_>]) -> String {
    let Some(cluster) = rows.iter().find_map(|row| row.cluster_version) else { return String::new() };
    let (behind, ahead): (Vec<&Row>, Vec<&Row>) =
        rows.iter().partition(|row| row.version.is_none_or(|version| version == cluster));
    if ahead.is_empty() {
        return format!("Cluster version: {cluster}\n");
    }
    let names: Vec<&str> = behind
        .iter()
        .map(|row| if row.member.name.is_empty() { row.member.id } else { row.member.name })
        .collect();
    match names.as_slice() {
        [] => format!("Cluster version: {cluster}, about to rise\n"),
        names => format!("Cluster version: {cluster}, held by {}\n", names.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_say_who_leads_and_who_is_behind_and_an_unstarted_member_has_dashes() {
        let stand = |id: &str, name: &str, leader, role, running, lag| MemberStatus {
            member: Member {
                id: id.into(),
                name: name.into(),
                peer_urls: vec![format!("http://{id}:2380")],
                ..Member::default()
            },
            leader,
            role,
            running: Some(running),
            lag,
            version: (!name.is_empty()).then(|| "0.1".into()),
        };
        let member_statuses = [
            stand("a1", "one", true, Role::Voter, true, Some(0)),
            stand("b2", "two", false, Role::Voter, false, Some(9)),
            stand("c3", "three", false, Role::Learner, true, Some(120)),
            stand("d4", "four", false, Role::Replica, true, Some(0)),
            stand("e5", "", false, Role::Learner, false, None),
            stand("f6", "six", false, Role::Voter, false, None),
            MemberStatus { running: None, ..stand("g7", "seven", false, Role::Voter, false, None) },
        ];
        let rows: Vec<Row> = member_statuses.iter().map(|status| Row::new(status, Some("0.1"))).collect();
        assert_eq!(
            render(&rows),
            "ID  NAME   PEER URLS       CLIENT URLS  ROLE                         VERSION\n\
             a1  one    http://a1:2380  -            leader                       0.1\n\
             b2  two    http://b2:2380  -            voter, not running           0.1\n\
             c3  three  http://c3:2380  -            learner, 120 entries behind  0.1\n\
             d4  four   http://d4:2380  -            read replica                 0.1\n\
             e5  -      http://e5:2380  -            learner, not started         -\n\
             f6  six    http://f6:2380  -            voter, not reached           0.1\n\
             g7  seven  http://g7:2380  -            voter, no leader             0.1\n\
             Cluster version: 0.1\n"
        );
        let said = |versions: [Option<&'static str>; 3]| {
            let names = ["one", "two", ""];
            let row = |(version, name)| {
                let first = Row::new(&member_statuses[0], Some("0.1"));
                Row { member: Shown { name, ..first.member }, version, ..first }
            };
            reached(&versions.into_iter().zip(names).map(row).collect::<Vec<_>>())
        };
        let next = Some("0.2");
        assert_eq!(said([next, Some("0.1"), None]), "Cluster version: 0.1, held by two, a1\n");
        assert_eq!(said([next, next, next]), "Cluster version: 0.1, about to rise\n");
    }
}
