"""What scripts rely on to the letter, and no other file here looks at."""


def test_an_address_can_be_staged_again_right_after_its_pool_was_rejected(stand, make_backend):
    again = make_backend("again")
    stand.suite.shell("01_pass", "exit 1")
    for _ in range(10):
        assert stand.daemon.upswap("stage", "web", again.address).returncode == 3
    stand.suite.shell("01_pass")
    assert stand.daemon.upswap("stage", "web", again.address).returncode == 0


def test_an_address_can_be_staged_again_right_after_its_deployment_was_aborted(stand, make_backend):
    again = make_backend("again")
    for _ in range(10):
        stand.admin.stage([again.address], hold=True)
        assert stand.admin.command("abort").status == 200


def test_a_live_instance_can_be_staged_again_right_after_its_deployment_was_aborted(make_stand, puppets):
    stand = make_stand()
    stand.install_hook(puppets.program)
    stand.suite.shell("01_pass")
    stand.start()
    for _ in range(10):
        deployment = stand.admin.stage([stand.live[0].address], hold=True)
        stand.wait_state(deployment, "held")
        assert stand.admin.command("abort").status == 200
    assert not puppets.all


def test_an_address_whose_hook_still_runs_is_refused_at_once(make_stand, make_backend, puppets):
    stand = make_stand()
    stand.install_hook(puppets.program)
    stand.suite.shell("01_fail", "exit 1")
    stand.start()
    again = make_backend("again")
    deployment = stand.admin.stage([again.address])
    call = puppets.next()
    refusal = stand.admin.try_stage([again.address])
    assert refusal.status == 422
    assert deployment in refusal.detail
    call.exit()


def test_uptests_by_hand_take_an_instance_in_both_its_forms(stand):
    address = stand.live[0].address
    answer = stand.admin.command("uptest", instances=[{"address": address, "pid": 1}, address])
    assert [each["Port"] for each in answer.json] == [stand.live[0].port] * 2
    assert stand.admin.command("uptest", instances=[{"adress": address}]).status == 400


def test_upswaps_own_variables_win_over_the_environment_of_the_config(make_stand):
    stand = make_stand(uptests={"environment": {"UPTEST_HOST": "elsewhere", "UPTEST_OF_MINE": "kept"}})
    stand.suite.shell("01_print", 'echo "$UPTEST_HOST $UPTEST_OF_MINE"')
    stand.start()
    assert stand.run(stand.live[0])[0]["Output"] == "127.0.0.1 kept\n"


def test_a_client_that_is_started_together_with_the_daemon_waits_for_it(make_stand):
    stand = make_stand()
    stand.suite.shell("01_pass")
    stand.daemon.write_config()
    client = stand.daemon.spawn_upswap("status")
    stand.daemon.spawn()
    output, errors = client.communicate(timeout=10)
    assert (client.returncode, errors) == (0, "")
    assert output.startswith("web: serving")


def test_at_the_end_every_role_ends_by_itself(stand):
    for _ in range(10):
        assert stand.daemon.stop() == 0
        assert "killed" not in stand.daemon.stderr()
        stand.daemon.start()
