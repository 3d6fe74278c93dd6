"""What must be done within seconds does not wait behind what takes minutes."""

from django.conf import settings

from costboard.celery import app
from costboard.demo.children import workers


def queue_of(task: str) -> str:
    return str(app.amqp.router.route({}, task)["queue"].name)


def test_every_scheduled_task_is_known_and_only_the_prompt_are_in_the_prompt_queue() -> None:
    app.loader.import_default_modules()
    scheduled = {entry["task"] for entry in settings.CELERY_BEAT_SCHEDULE.values()}
    assert scheduled <= set(app.tasks)
    # Somebody waits for these: a page asks for them.
    asked_for = {"apps.dashboards.tasks.send_password_link"}
    assert asked_for <= set(app.tasks)
    assert {task for task in scheduled if queue_of(task) == "prompt"} == set(
        settings.CELERY_TASK_ROUTES
    ) - asked_for
    assert queue_of("apps.insights.tasks.watch_spend") == "slow"
    assert queue_of("apps.some.new_task") == "slow"


def test_a_message_goes_to_its_own_queue_and_no_other() -> None:
    bound = [(q.exchange.name, q.routing_key) for q in app.amqp.queues.values()]
    assert len(set(bound)) == len(bound) == 2


def test_both_queues_have_a_worker() -> None:
    taken = [child.argv[child.argv.index("--queues") + 1] for child in workers(1)]
    assert sorted(taken) == sorted(app.amqp.queues)
