"""``codexproxy logout``: the login service forgets the login, then this machine does."""

import json

import click

from codexproxy.cli.support.command import login_of, profile_option, settings_or_exit, told


@click.command()
@profile_option
@click.option("--json", "as_json", is_flag=True, help="Print what was done as JSON.")
def logout(profile: str, as_json: bool) -> None:
    """Sign out: revoke the login, then delete it.

    A login that belongs to the Codex CLI is only let go; that program stays signed in.
    """
    account = login_of(settings_or_exit(), profile)
    own = account.is_own()
    with told():
        done = account.end()
    if as_json:
        click.echo(json.dumps({"was_logged_in": done.was_logged_in, "revoked": done.revoked}))
    elif not done.was_logged_in:
        click.echo("Nobody was signed in.")
    elif not own:
        click.echo("Signed out here. The Codex CLI is still signed in.")
    elif done.revoked:
        click.echo("Signed out.")
    else:
        click.echo(
            "Signed out here. The login service could not be reached, so the login stays valid there until it expires."
        )
